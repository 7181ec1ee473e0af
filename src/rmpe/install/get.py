"""A model of the catalogue: fetched, or carried here by hand, and compared with the catalogue."""

from pathlib import Path
from typing import Literal

from rmpe.catalogue import Catalogue, Entry, shipped_catalogue
from rmpe.download import MOST_BYTES, Progress, download
from rmpe.errors import ModelError
from rmpe.install.place import check_model, check_name, copy_model, file_name, place, workshop
from rmpe.install.records import FIRST_USE, Known, Outcome, known_models, today
from rmpe.install.unzip import SPARE, is_zip, unzip
from rmpe.models import added_models
from rmpe.runtime import sha256_of


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
    check_name(entry.name)
    with workshop(entry.name) as folder:
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
            copy = folder / file_name(file.name)
            copy_model(file, copy)
            return _finish(entry, pinned, copy, str(file))
        reasons = []
        for address in (catalogue or shipped_catalogue()).addresses(entry, mirror):
            try:
                return _fetch(entry, pinned, address, folder, progress)
            except ModelError as error:
                reasons.append(str(error))
        raise ModelError("; ".join(reasons))


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
        file = folder / file_name(address)
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


def _fetch(
    entry: Entry, pinned: str, address: str, folder: Path, progress: Progress | None
) -> Outcome:
    file = folder / file_name(address)
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
    record = Known(sha256_of(model), source, trust, today())
    place(entry.name, model, entry.card, record)
    return Outcome(entry.name, "installed", f"{trust}; {source}")


def _right_model(entry: Entry, pinned: str, file: Path) -> Path:
    """The ONNX file of an entry, from its zip if need be; a wrong file is deleted.

    Raises:
        ModelError: If size or hash are not the catalogue's, with both.
    """
    try:
        if entry.archive_sha256 and is_zip(file):
            _compare(entry.name, "zip file", sha256_of(file), entry.archive_sha256)
        model = unzip(file, entry.member, entry.bytes or MOST_BYTES)
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
