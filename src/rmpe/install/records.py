"""What is known of installed files: what each hashed to, where it came from, why it was trusted."""

import datetime
import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rmpe.atomic import write_text
from rmpe.config import from_mapping
from rmpe.errors import DataError, ModelError
from rmpe.files import home
from rmpe.models import added_models
from rmpe.runtime import sha256_of

# Why a file is believed to be the right one.
FIRST_USE = "first use"
FILE = "file"


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


def known_models() -> dict[str, Known]:
    """Name -> what is known of the files that were installed.

    Raises:
        ModelError: If the record cannot be read.
    """
    return read_records(_records_file())


def add_record(name: str, record: Known) -> None:
    """Note what is known of a file; its caller lets nobody else write the record.

    Raises:
        ModelError: If the record cannot be read.
        OutputError: If it cannot be written.
    """
    write_records(_records_file(), known_models() | {name: record})


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


def read_records(file: Path) -> dict[str, Known]:
    """Name -> what is known, from a record or a manifest; empty if there is none.

    Raises:
        ModelError: If it cannot be read.
    """
    try:
        data = tomllib.loads(file.read_text("utf-8"))
        return {name: from_mapping(Known, row, f"{file}: {name}") for name, row in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{file}: cannot read what is known of models: {error}") from error
    except DataError as error:
        raise ModelError(str(error)) from error


def write_records(file: Path, records: dict[str, Known]) -> None:
    """Write a record or a manifest.

    Raises:
        OutputError: If it cannot be written.
    """
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
    write_text(file, "\n\n".join(tables) + "\n")


def _records_file() -> Path:
    return home() / "known_models.toml"


def today() -> str:
    """The date as YYYY-MM-DD."""
    return datetime.date.today().isoformat()
