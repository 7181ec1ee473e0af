"""Which model is meant: a file, one that ships with the package, or one that the user installed.

Installed models lie in ``$RMPE_HOME/models`` (default ``~/.rmpe/models``) as ``NAME.onnx`` with
their card ``NAME.toml`` beside them; ``$RMPE_HOME/defaults.toml`` says which model is the default
of its kind. `rmpe.install` puts them there.
"""

from importlib import resources
from pathlib import Path

from rmpe.atomic import write_text
from rmpe.cards import ModelCard, find_card
from rmpe.catalogue import shipped_catalogue
from rmpe.errors import DataError, ModelError, NotInstalledError
from rmpe.fields import text
from rmpe.files import home, is_file, read_toml
from rmpe.runtime import Session

# Kind -> the model that ships and is used unless another is named or chosen.
DEFAULTS = {"detector": "detector-person", "pose": "pose-hr", "stn": "stn-lite"}
KINDS = tuple(DEFAULTS)


def resolve_model(name_or_path: str | Path | None, kind: str) -> Path:
    """The file of a model.

    Args:
        name_or_path: An ONNX file, the name of an installed model, or ``None`` for the default of
            its kind.
        kind: ``detector``, ``pose`` or ``stn``.

    Raises:
        NotInstalledError: If the name is one of the catalogue's and was not fetched yet.
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
    if is_file(path):
        return path
    for entry in shipped_catalogue().models:
        if entry.name == str(name_or_path):
            raise NotInstalledError(
                entry.name,
                f"not installed: rmpe models get {entry.name} ({entry.size}, {entry.card.license})",
            )
    known = f"; installed: {', '.join(installed)}" if installed else ""
    raise ModelError(f"{name_or_path}: no such model file{known}; published: rmpe models catalogue")


def shipped_models() -> dict[str, Path]:
    """Name -> file of the models that ship with the package; names begin with the kind."""
    folder = Path(str(resources.files("rmpe") / "data" / "models"))
    return {file.stem: file for file in sorted(folder.glob("*.onnx"))}


def added_models() -> dict[str, Path]:
    """Name -> file of the models that the user installed."""
    return {file.stem: file for file in sorted(models_folder().glob("*.onnx"))}


def installed_models() -> dict[str, Path]:
    """Name -> file of the models that ship and those that the user installed."""
    return shipped_models() | added_models()


def default_model(kind: str) -> str | None:
    """Name of the default model of a kind: the user's choice, else the one of `DEFAULTS`.

    ``None`` = there is none.

    Raises:
        ModelError: If the user's choice is not installed any more.
    """
    name = choices().get(kind)
    if name is not None and name not in installed_models():
        raise ModelError(
            f"{_defaults()}: the default {kind} {name!r} is not installed: rmpe models use ANOTHER"
        )
    return name or (DEFAULTS[kind] if DEFAULTS[kind] in shipped_models() else None)


def chosen_stn() -> str | None:
    """Name of the spatial transformer that the user wants before every pose model, if any.

    The one that ships is no such choice: it stands where a pose model's card names it.

    Raises:
        ModelError: If the user's choice is not installed any more.
    """
    name = default_model("stn")
    return None if name == DEFAULTS["stn"] else name


def use_model(name: str) -> ModelCard:
    """Make an installed model the default of its kind.

    A one-stage model becomes the default pose model: it needs no detector.

    Raises:
        NotInstalledError: If the name is one of the catalogue's and was not fetched yet.
        ModelError: If there is none of that name.
    """
    installed = installed_models()
    if name not in installed:
        if is_file(Path(name)):
            raise ModelError(f"{name}: a file, not a name: rmpe models add NAME {name}")
        resolve_model(name, "pose")
    card = find_card(Session(installed[name], "cpu"))
    choose(choices() | {slot_of(card): name})
    return card


def slot_of(card: ModelCard) -> str:
    """Whose place a model takes in the pipeline: ``detector``, ``pose`` or ``stn``."""
    return "pose" if card.kind == "one-stage" else card.kind


def models_folder() -> Path:
    """Where the installed models lie."""
    return home() / "models"


def choices() -> dict[str, str]:
    """Kind -> name of the default model, as the user chose.

    Raises:
        ModelError: If the file of choices cannot be read.
    """
    if not _defaults().exists():
        return {}
    try:
        choices = read_toml(_defaults())
        return {
            kind: text(choices[kind], f"{_defaults()}: {kind}") for kind in KINDS if kind in choices
        }
    except DataError as error:
        raise ModelError(
            f"{_defaults()}: cannot read the default models: {error}; delete it to start anew"
        ) from error


def choose(chosen: dict[str, str]) -> None:
    """Write down kind -> name of the default models.

    Raises:
        OutputError: If it cannot be written.
    """
    write_text(_defaults(), "".join(f'{kind} = "{name}"\n' for kind, name in chosen.items()))


def _defaults() -> Path:
    return home() / "defaults.toml"
