"""Which model is meant: a file, one that ships with the package, or one that the user added.

Added models live in ``$RMPE_HOME/models`` (default ``~/.rmpe/models``) as ``NAME.onnx`` with their
card ``NAME.toml`` beside them; ``$RMPE_HOME/defaults.toml`` says which model is the default of its
kind.
"""

import os
import re
import shutil
import tempfile
import tomllib
import urllib.request
import zipfile
from dataclasses import replace
from importlib import resources
from pathlib import Path

from rmpe.cards import ModelCard, find_card
from rmpe.errors import ModelError
from rmpe.runtime import Session, sha256_of

KINDS = ("detector", "pose", "stn")
TIMEOUT = 60.0  # seconds without an answer


def resolve_model(name_or_path: str | Path | None, kind: str) -> Path:
    """The file of a model.

    Args:
        name_or_path: An ONNX file, the name of an installed model, or ``None`` for the default of
            its kind.
        kind: ``detector``, ``pose`` or ``stn``.

    Raises:
        ModelError: If there is no such file or model, with what to do.
    """
    installed = installed_models()
    if name_or_path is None:
        name_or_path = default_model(kind)
        if name_or_path is None:
            raise ModelError(
                f"no default {kind} model is installed: name an ONNX file with --{kind} FILE"
            )
    if str(name_or_path) in installed:
        return installed[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = f"; installed: {', '.join(installed)}" if installed else ""
    raise ModelError(f"{name_or_path}: no such model file{known}")


def shipped_models() -> dict[str, Path]:
    """Name -> file of the models that ship with the package; names begin with the kind."""
    folder = Path(str(resources.files("rmpe") / "data" / "models"))
    return {file.stem: file for file in sorted(folder.glob("*.onnx"))}


def installed_models() -> dict[str, Path]:
    """Name -> file of the models that ship and those that the user added."""
    return shipped_models() | {file.stem: file for file in sorted(_models().glob("*.onnx"))}


def default_model(kind: str) -> str | None:
    """Name of the default model of a kind: the user's choice, else the first that ships; ``None`` = there is none."""
    name = _choices().get(kind)
    if name is not None and name not in installed_models():
        raise ModelError(
            f"{_defaults()}: the default {kind} {name!r} is not installed: rmpe models use ANOTHER"
        )
    return name or next((shipped for shipped in shipped_models() if shipped.startswith(kind)), None)


def add_model(
    name: str, source: str, sha256: str | None = None, card: Path | None = None
) -> ModelCard:
    """Install a model under a name.

    Args:
        name: What to call it: letters, digits, ``.``, ``_``, ``-``.
        source: File or http(s) address of an ONNX model, or of a zip file with exactly one in it.
        sha256: What the file must hash to; a download needs it.
        card: Its card, if it is neither inside the model nor known by the model's name or outputs.

    Returns:
        The card it was installed with.

    Raises:
        ModelError: If it cannot be read, is not the file that was meant, or has no card.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name in shipped_models():
        raise ModelError(
            f"{name!r} cannot name a model: use letters, digits, '.', '_', '-', and no shipped model's name"
        )
    address = source.startswith(("http://", "https://"))
    if address and sha256 is None:
        raise ModelError(f"{source}: a download needs --sha256, the hash that its publisher gives")
    _models().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_models().parent) as folder:
        # The file keeps its own name until its card is found: some cards know their models by a
        # word in it.
        file = Path(folder) / (Path(source.partition("?")[0]).name or "model.onnx")
        _fetch(source, file) if address else _copy(Path(source), file)
        found = sha256_of(file)
        if sha256 is not None and found != sha256.lower():
            raise ModelError(
                f"{source}: its SHA-256 is {found}, not {sha256}: not the file that was meant"
            )
        file = _unzip(file)
        if card is None and not address and (beside := Path(source).with_suffix(".toml")).is_file():
            card = beside
        known = find_card(Session(file, "cpu"), card)
        if known.skeleton.endswith(".toml"):
            known = replace(known, skeleton=str(Path(known.skeleton).resolve()))
        (_models() / f"{name}.toml").write_text(known.to_toml(), "utf-8")
        file.replace(_models() / f"{name}.onnx")
    return known


def use_model(name: str) -> ModelCard:
    """Make an installed model the default of its kind.

    Raises:
        ModelError: If there is none of that name.
    """
    installed = installed_models()
    if name not in installed:
        raise ModelError(f"{name}: no such model; installed: {', '.join(installed) or 'none'}")
    card = find_card(Session(installed[name], "cpu"))
    _choose(_choices() | {card.kind: name})
    return card


def remove_model(name: str) -> None:
    """Remove a model that the user added; a default that it was falls back to what ships.

    Raises:
        ModelError: If the user added none of that name.
    """
    file = _models() / f"{name}.onnx"
    if not file.is_file():
        raise ModelError(f"{name}: not a model that was added")
    _choose({kind: choice for kind, choice in _choices().items() if choice != name})
    file.unlink()
    file.with_suffix(".toml").unlink(missing_ok=True)


def _home() -> Path:
    return Path(os.environ.get("RMPE_HOME") or Path.home() / ".rmpe")


def _models() -> Path:
    return _home() / "models"


def _defaults() -> Path:
    return _home() / "defaults.toml"


def _choices() -> dict[str, str]:
    """Kind -> name, as the user chose."""
    try:
        choices = tomllib.loads(_defaults().read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(
            f"{_defaults()}: cannot read the default models: {error}; delete it to start anew"
        ) from error
    return {kind: str(choices[kind]) for kind in KINDS if kind in choices}


def _choose(choices: dict[str, str]) -> None:
    _home().mkdir(parents=True, exist_ok=True)
    _defaults().write_text(
        "".join(f'{kind} = "{name}"\n' for kind, name in choices.items()), "utf-8"
    )


def _fetch(address: str, file: Path) -> None:
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, file.open("wb") as out:
            shutil.copyfileobj(answer, out)
    except (OSError, ValueError) as error:
        raise ModelError(f"{address}: cannot download: {error}") from error


def _copy(source: Path, file: Path) -> None:
    try:
        shutil.copyfile(source, file)
    except OSError as error:
        raise ModelError(f"{source}: cannot read the model: {error.strerror or error}") from error


def _unzip(file: Path) -> Path:
    """The one model in a zip file; any other file is the model itself."""
    if not zipfile.is_zipfile(file):
        return file
    with zipfile.ZipFile(file) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".onnx")]
        if len(inside) != 1:
            raise ModelError(
                f"{file.name}: holds {len(inside)} ONNX models, not one: unpack it and add the right one"
            )
        model = file.with_suffix(".onnx")
        with archive.open(inside[0]) as packed, model.open("wb") as out:
            shutil.copyfileobj(packed, out)
    return model
