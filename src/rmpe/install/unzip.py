"""The one model in a zip file, without filling the disk."""

import zipfile
import zlib
from pathlib import Path
from typing import IO

from rmpe.errors import ModelError

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


def is_zip(file: Path) -> bool:
    """Whether a file begins as zip files do."""
    with file.open("rb") as start:
        return start.read(4) in ZIP_STARTS


def unzip(file: Path, member: str, most: int) -> Path:
    """The one model in a zip file, or the one called ``member``; any other file is the model.

    Args:
        file: What was downloaded or named.
        member: File name of the model in the zip file; empty if it is the only one.
        most: Bytes that the model may have.

    Raises:
        ModelError: If there is not one such model, it is too large, or the file is damaged.
    """
    if not is_zip(file):
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
