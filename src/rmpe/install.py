"""Installing models under a name: from a file, an address, the catalogue, or another machine.

Whatever the source, a model is made ready in ``$RMPE_HOME/downloads/NAME`` and moved to its place
only after its hash, its card and one run were found right. ``$RMPE_HOME/known_models.toml`` notes
what each file hashed to and why it was trusted.
"""

import datetime
import errno
import json
import logging
import re
import shutil
import tomllib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Literal

import filelock
import numpy as np

from rmpe.cards import ModelCard, card_beside, find_card, read_card
from rmpe.catalogue import Catalogue, Entry, shipped_catalogue
from rmpe.config import from_mapping
from rmpe.detect import DECODERS
from rmpe.download import MOST_BYTES, Progress, download, host_of, is_address
from rmpe.errors import DataError, ModelError
from rmpe.estimate.crops import network_input
from rmpe.estimate.one_stage import OneStageModel
from rmpe.estimate.pose_model import PoseModel
from rmpe.estimate.stn import Stn
from rmpe.files import home
from rmpe.models import added_models, choices, choose, models_folder, shipped_models
from rmpe.runtime import Session, sha256_of

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
MANIFEST = "models.toml"
FIRST_USE = "first use"
FILE = "file"
CHUNK = 1 << 20  # bytes
# Weights hardly shrink in a zip file; what unpacks to this many times its size is no model.
MOST_RATIO = 100
SPARE = 1 << 20  # bytes that a zip file may be larger than the model in it
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,  # encrypted
    NotImplementedError,  # unknown compression
    OSError,
    EOFError,
    ValueError,
)


@dataclass(frozen=True)
class Known:
    """What is known of an installed file.

    Attributes:
        sha256: What it hashed to when it was installed.
        source: The file or address it came from.
        trust: Why it was believed to be the right one.
        date: When, as YYYY-MM-DD.
    """

    sha256: str
    source: str
    trust: str
    date: str


@dataclass(frozen=True)
class Outcome:
    """What became of one model.

    Attributes:
        name: Its name.
        state: What is the case now.
        detail: The rest of the story in one line.
    """

    name: str
    state: Literal["installed", "already there", "right", "changed", "no record", "wrong"]
    detail: str = ""


def add_model(
    name: str,
    source: str,
    sha256: str | None = None,
    card: Path | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Install a model under a name.

    Args:
        name: What to call it: letters, digits, ``.``, ``_``, ``-``.
        source: File or http(s) address of an ONNX model, or of a zip file with exactly one in it.
        sha256: What the file, or the model in it, must hash to. Without it a download is trusted
            on first use: later the same address must give the same model.
        card: Its card, if it is neither inside the model nor known by the model's name or outputs.
        progress: Told how far a download is.

    Returns:
        The card it was installed with.

    Raises:
        ModelError: If it cannot be read, is not the file that was meant, or has no card.
    """
    _check_name(name)
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise ModelError(f"--sha256 {sha256!r}: a SHA-256 has 64 hexadecimal digits")
    from_network = is_address(source)
    if from_network:
        host_of(source)
    with _workshop(name) as folder:
        # The file keeps its own name until its card is found: some cards know their models by a
        # word in it.
        file = folder / _file_name(source)
        if from_network:
            download(source, file, progress=progress)
        else:
            _copy(Path(source), file)
        model = _unzip(file, "", MOST_BYTES)
        found = sha256_of(model)
        trust = FIRST_USE if from_network else FILE
        if sha256 is not None:
            hashes = {found, sha256_of(file)}
            if sha256.lower() not in hashes:
                raise ModelError(
                    f"{source}: its SHA-256 is {sha256_of(file)}, not {sha256}: "
                    "not the file that was meant"
                )
            trust = "--sha256"
        elif from_network:
            _check_first_use(source, found)
        if card is None and not from_network:
            card = card_beside(Path(source))
        return _place(
            name,
            model,
            _card_of(model, card, source),
            Known(found, source, trust, _today()),
        )


def _card_of(model: Path, card: Path | None, source: str) -> ModelCard:
    """The card of a model that is made ready; errors name the source, for the file goes away."""
    try:
        return find_card(Session(model, "cpu"), card)
    except ModelError as error:
        raise ModelError(str(error).replace(str(model), source)) from error


def get_model(
    entry: Entry,
    *,
    catalogue: Catalogue | None = None,
    mirror: str | None = None,
    file: Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Install a model of the catalogue.

    Two processes that want the same model download it once. A file with another hash than the
    catalogue's is never installed; of a model whose hash the catalogue does not know, the first
    one is trusted and every later one must be the same.

    Args:
        entry: The model.
        catalogue: Where the entry is from; the catalogue that ships if not given.
        mirror: Folder of one's own to fetch from instead of the publisher's addresses.
        file: A file that was carried here by hand: the zip or the ONNX model.
        progress: Told how far the download is.

    Raises:
        ModelError: If no address gives the right file, or another file has the name already.
    """
    _check_name(entry.name)
    with _workshop(entry.name) as folder:
        known = known_models().get(entry.name)
        pinned = entry.sha256
        if not pinned and known is not None and known.trust.endswith(FIRST_USE):
            pinned = known.sha256
        there = added_models().get(entry.name)
        if there is not None:
            if sha256_of(there) == (pinned or sha256_of(there)):
                return Outcome(entry.name, "already there", str(there))
            raise ModelError(
                f"{there}: not the catalogue's {entry.name}, but it has its name; "
                f"first: rmpe models remove {entry.name}"
            )
        if file is not None:
            copy = folder / _file_name(file.name)
            _copy(file, copy)
            return _finish(entry, pinned, copy, str(file))
        reasons = []
        for address in (catalogue or shipped_catalogue()).addresses(entry, mirror):
            try:
                return _fetch(entry, pinned, address, folder, progress)
            except ModelError as error:
                reasons.append(str(error))
        raise ModelError("; ".join(reasons))


def remove_model(name: str) -> None:
    """Remove a model that the user installed; a default that it was falls back to what ships.

    Its hash stays known, so that a model that was trusted on first use stays the same one.

    Raises:
        ModelError: If the user installed none of that name.
    """
    file = added_models().get(name)
    if file is None:
        raise ModelError(f"{name}: not a model that was added")
    choose({kind: choice for kind, choice in choices().items() if choice != name})
    file.unlink()
    for beside in (_card_file(name), _skeleton_file(name)):
        beside.unlink(missing_ok=True)


def known_models() -> dict[str, Known]:
    """Name -> what is known of the files that were installed.

    Raises:
        ModelError: If the record cannot be read.
    """
    return _read_records(_records())


def verify_models() -> list[Outcome]:
    """Hash every installed model anew and compare with what is known of it."""
    known = known_models()
    outcomes = []
    for name, file in added_models().items():
        found = sha256_of(file)
        if name not in known:
            outcomes.append(Outcome(name, "no record", f"SHA-256 {found}"))
        elif found != known[name].sha256:
            detail = f"SHA-256 {found}, installed as {known[name].sha256}"
            outcomes.append(Outcome(name, "changed", detail))
        else:
            outcomes.append(Outcome(name, "right", f"{known[name].trust}, {known[name].date}"))
    return outcomes


def verify_entry(
    entry: Entry,
    folder: Path,
    *,
    catalogue: Catalogue | None = None,
    mirror: str | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Fetch a model of the catalogue from each of its addresses and compare; installs nothing.

    Args:
        entry: The model.
        folder: For the files; they are deleted again.
        catalogue: Where the entry is from; the catalogue that ships if not given.
        mirror: Folder of one's own to fetch from instead.
        progress: Told how far the download is.
    """
    outcomes = []
    for address in (catalogue or shipped_catalogue()).addresses(entry, mirror):
        file = folder / _file_name(address)
        try:
            download(address, file, size=_archive_size(entry), most=_most(entry), progress=progress)
            model = _right_model(entry, entry.sha256, file)
            check_model(model, entry.card)
            detail = f"{address}: {model.stat().st_size} bytes, SHA-256 {sha256_of(model)}"
            state: Literal["right", "no record"] = "right" if entry.sha256 else "no record"
            outcomes.append(Outcome(entry.name, state, detail))
        except ModelError as error:
            outcomes.append(Outcome(entry.name, "wrong", str(error)))
        for left in folder.iterdir():
            left.unlink()
    return outcomes


def export_models(folder: Path) -> list[Outcome]:
    """Copy the models that the user installed, for a machine without internet.

    Raises:
        ModelError: If there is none, one was changed since it was installed, or the folder cannot
            be written.
    """
    models = added_models()
    if not models:
        raise ModelError("nothing to export: no model was added")
    known = known_models()
    records = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in models.items():
            found = sha256_of(file)
            record = known.get(name) or Known(found, str(file), FILE, _today())
            if found != record.sha256:
                raise ModelError(
                    f"{file}: changed since it was installed; first: rmpe models remove {name}"
                )
            for part in (file, _card_file(name), _skeleton_file(name)):
                if part.is_file():
                    shutil.copyfile(part, folder / part.name)
            records[name] = record
        _write_records(folder / MANIFEST, records)
    except OSError as error:
        raise ModelError(f"{folder}: cannot export: {error.strerror or error}") from error
    return [Outcome(name, "right", str(folder / file.name)) for name, file in models.items()]


def import_models(folder: Path, catalogue: Catalogue | None = None) -> list[Outcome]:
    """Install what `export_models` has copied.

    A model that has a name of the catalogue and claims to be the catalogue's must have its hash.

    Args:
        folder: The folder.
        catalogue: The catalogue that ships if not given.

    Raises:
        ModelError: If the folder has no manifest, or a file in it is not what the manifest says.
    """
    if not (folder / MANIFEST).is_file():
        raise ModelError(f"{folder}: no {MANIFEST} in it: not a folder of rmpe models export")
    pinned = {entry.name: entry.sha256 for entry in (catalogue or shipped_catalogue()).models}
    outcomes = []
    for name, record in _read_records(folder / MANIFEST).items():
        _check_name(name)
        source = folder / f"{name}.onnx"
        with _workshop(name) as work:
            there = added_models().get(name)
            if there is not None and sha256_of(there) == record.sha256:
                outcomes.append(Outcome(name, "already there", str(there)))
                continue
            if there is not None:
                raise ModelError(
                    f"{there}: another model has this name; first: rmpe models remove {name}"
                )
            model = work / f"{name}.onnx"
            _copy(source, model)
            expected = {record.sha256}
            if record.trust.startswith("catalogue") and pinned.get(name):
                expected.add(pinned[name])
            found = sha256_of(model)
            if expected != {found}:
                raise ModelError(
                    f"{source}: its SHA-256 is {found}, not {', '.join(sorted(expected - {found}))}"
                )
            card = read_card(folder / f"{name}.toml")
            skeleton = folder / _skeleton_file(name).name
            if skeleton.is_file():
                card = replace(card, skeleton=str(skeleton))
            _place(name, model, card, record)
            outcomes.append(Outcome(name, "installed", record.trust))
    return outcomes


def check_model(file: Path, card: ModelCard) -> None:
    """Run a model once, as its card says.

    Raises:
        ModelError: If it cannot be run that way.
    """
    session = Session(file, "cpu")
    if card.kind == "pose":
        PoseModel(session, card)
    elif card.kind == "one-stage":
        OneStageModel(session, card)
    elif card.kind == "detector":
        DECODERS[card.decoder](session, card)(np.zeros((64, 64, 3), np.uint8))
    else:
        session(network_input(np.zeros((1, *Stn(session, card).size, 3), np.uint8), card))


def _fetch(
    entry: Entry, pinned: str, address: str, folder: Path, progress: Progress | None
) -> Outcome:
    file = folder / _file_name(address)
    size = _archive_size(entry)
    done = download(address, file, size=size, most=_most(entry), progress=progress)
    try:
        return _finish(entry, pinned, file, address)
    except ModelError:
        if not done.resumed:
            raise
    # What an interrupted download had left may be what is wrong: once more from the beginning.
    download(address, file, size=size, most=_most(entry), progress=progress)
    return _finish(entry, pinned, file, address)


def _finish(entry: Entry, pinned: str, file: Path, source: str) -> Outcome:
    model = _right_model(entry, pinned, file)
    trust = f"catalogue, {entry.trust if entry.sha256 else FIRST_USE}"
    record = Known(sha256_of(model), source, trust, _today())
    _place(entry.name, model, entry.card, record)
    return Outcome(entry.name, "installed", f"{trust}; {source}")


def _right_model(entry: Entry, pinned: str, file: Path) -> Path:
    """The ONNX file of an entry, from its zip if need be; a wrong file is deleted.

    Raises:
        ModelError: If size or hash are not the catalogue's, with both.
    """
    try:
        if entry.archive_sha256 and _is_zip(file):
            _compare(entry.name, "zip file", sha256_of(file), entry.archive_sha256)
        model = _unzip(file, entry.member, entry.bytes or MOST_BYTES)
        if entry.bytes:
            _compare(entry.name, "size of the model", model.stat().st_size, entry.bytes)
        if pinned:
            _compare(entry.name, "model", sha256_of(model), pinned)
    except ModelError:
        file.unlink(missing_ok=True)
        raise
    return model


def _compare(name: str, what: str, found: str | int, expected: str | int) -> None:
    if found != expected:
        kind = "" if isinstance(found, int) else "SHA-256 of the "
        raise ModelError(
            f"{name}: the {kind}{what} is {found}, the right one is {expected}: not installed"
        )


def _archive_size(entry: Entry) -> int:
    """Size of what is downloaded; 0 = unknown."""
    return entry.archive_bytes if entry.member else entry.bytes


def _most(entry: Entry) -> int:
    """No more bytes than these are downloaded."""
    return entry.bytes + SPARE if entry.bytes else MOST_BYTES


def _place(name: str, model: Path, card: ModelCard, record: Known) -> ModelCard:
    """Move a model that was found right to its place, the card first; the model makes it count."""
    check_model(model, card)
    try:
        models_folder().mkdir(parents=True, exist_ok=True)
        if card.skeleton.endswith(".toml"):
            _copy(Path(card.skeleton), _skeleton_file(name))
            card = replace(card, skeleton=str(_skeleton_file(name).resolve()))
        card = replace(card, trust=f"{record.trust}, {record.date}, SHA-256 {record.sha256}")
        _replace_text(_card_file(name), card.to_toml())
        with _lock("known_models"):
            _write_records(_records(), known_models() | {name: record})
        model.replace(models_folder() / f"{name}.onnx")
    except OSError as error:
        raise ModelError(
            f"{models_folder()}: cannot install {name}: {error.strerror or error}"
        ) from error
    return card


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name in shipped_models():
        raise ModelError(
            f"{name!r} cannot name a model: use up to 100 letters, digits, '.', '_', '-', "
            "and no shipped model's name"
        )


def _check_first_use(address: str, found: str) -> None:
    """Refuse a download that an address gave differently before."""
    for known in known_models().values():
        if known.source == address and known.sha256 != found:
            raise ModelError(
                f"{address}: its SHA-256 is {found}; on {known.date} this address gave "
                f"{known.sha256}. If its publisher says that it changed: --sha256 {found}"
            )


def _file_name(source: str) -> str:
    """A harmless file name that keeps the words of a source's own."""
    last = re.split(r"[\\/]", source.partition("?")[0].partition("#")[0])[-1]
    return re.sub(r"[^A-Za-z0-9_.-]", "_", last).lstrip(".")[-100:] or "model.onnx"


def _copy(source: Path, file: Path) -> None:
    try:
        if not source.is_file():  # also pipes and devices, which never end
            raise ModelError(f"{source}: cannot read the model: no such file")
        shutil.copyfile(source, file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        fault = f"cannot be copied into {file.parent}" if full else "cannot read the model"
        raise ModelError(f"{source}: {fault}: {reason}") from error


def _is_zip(file: Path) -> bool:
    with file.open("rb") as start:
        return start.read(4) in ZIP_STARTS


def _unzip(file: Path, member: str, most: int) -> Path:
    """The one model in a zip file, or the one called ``member``; any other file is the model."""
    if not _is_zip(file):
        return file
    model = file.with_name(f"{file.stem}-unpacked.onnx")
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [
                info
                for info in archive.infolist()
                if not info.is_dir()
                and info.filename.endswith(".onnx")
                and (not member or info.filename.rpartition("/")[2] == member)
            ]
            if len(inside) != 1:
                called = f" called {member}" if member else ""
                raise ModelError(
                    f"{file.name}: holds {len(inside)} ONNX models{called}, not one: "
                    "unpack it and add the right one"
                )
            limit = min(most, MOST_RATIO * file.stat().st_size + SPARE)
            with archive.open(inside[0]) as packed, model.open("wb") as out:
                _stream(packed, out, limit, file.name)
    except ZIP_FAULTS as error:
        reason = str(error).strip() or type(error).__name__
        raise ModelError(f"{file.name}: the zip file cannot be unpacked: {reason}") from error
    return model


def _stream(packed: IO[bytes], out: IO[bytes], limit: int, name: str) -> None:
    written = 0
    while data := packed.read(CHUNK):
        written += len(data)
        if written > limit:
            raise ModelError(f"{name}: unpacks to more than {limit} bytes: refused")
        out.write(data)


@contextmanager
def _workshop(name: str) -> Iterator[Path]:
    """A folder to make a model ready in, for one process at a time; parts of downloads stay."""
    folder = home() / "downloads" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be made: {error.strerror}") from error
    with _lock(name):
        folder.mkdir(exist_ok=True)  # whoever held the lock before may have removed it
        try:
            yield folder
        finally:
            for left in folder.iterdir():
                if not left.name.endswith((".part", ".part.json")):
                    left.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def _lock(name: str) -> Iterator[None]:
    lock = filelock.FileLock(home() / "downloads" / f"{name}.lock")
    try:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            log.warning("%s: another process is at it; waiting", name)
            lock.acquire()
    except OSError as error:
        raise ModelError(f"{lock.lock_file}: cannot be locked: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _read_records(file: Path) -> dict[str, Known]:
    try:
        data = tomllib.loads(file.read_text("utf-8"))
        return {name: from_mapping(Known, row, f"{file}: {name}") for name, row in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{file}: cannot read what is known of models: {error}") from error
    except DataError as error:
        raise ModelError(str(error)) from error


def _write_records(file: Path, records: dict[str, Known]) -> None:
    tables = [
        "\n".join(
            [f"[{json.dumps(name)}]"]
            + [
                f"{key} = {json.dumps(value, ensure_ascii=False)}"
                for key, value in asdict(known).items()
            ]
        )
        for name, known in sorted(records.items())
    ]
    _replace_text(file, "\n\n".join(tables) + "\n")


def _replace_text(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, "utf-8")
    partial.replace(file)


def _records() -> Path:
    return home() / "known_models.toml"


def _card_file(name: str) -> Path:
    return models_folder() / f"{name}.toml"


def _skeleton_file(name: str) -> Path:
    return models_folder() / f"{name}.skeleton.toml"


def _today() -> str:
    return datetime.date.today().isoformat()
