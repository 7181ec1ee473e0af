"""The catalogue: published models that can be fetched by name.

``rmpe/data/catalogue.toml`` says for each model where it lies, how large it is, what it hashes to,
its card, its published figure and the doubts about its licence. Nothing here dials out.
"""

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources

from rmpe.cards import ModelCard
from rmpe.config import from_mapping
from rmpe.errors import DataError, ModelError

# One repository may be mistaken or may have copied; two that agree are taken at their word.
ENOUGH_SOURCES = 2
MANY_SOURCES = 10  # counting stops here


@dataclass(frozen=True)
class Entry:
    """One published model.

    Attributes:
        name: What it is called here.
        place: Key of the addresses where it lies, in `Catalogue.places`.
        file: Path below each of these addresses; a zip if ``member`` is given.
        people: Data sets it was trained on.
        ap: Its published figure in percent, never verified by this project.
        measure: What ``ap`` was measured on.
        ap_source: Where ``ap`` was published.
        cite: The paper.
        card: How to run it, with its licence.
        member: File name of the model inside the zip.
        bytes: Size of the ONNX file; 0 = unknown.
        archive_bytes: Size of the zip; 0 = unknown.
        sha256: SHA-256 of the ONNX file; empty = unknown, trusted on first use.
        archive_sha256: SHA-256 of the zip; empty = unknown.
        sources: How many public repositories pin ``sha256``; `MANY_SOURCES` = that many or more.
        doubts: What is unclear about its licence or its origin.
    """

    name: str
    place: str
    file: str
    people: str
    ap: float
    measure: str
    ap_source: str
    cite: str
    card: ModelCard
    member: str = ""
    bytes: int = 0
    archive_bytes: int = 0
    sha256: str = ""
    archive_sha256: str = ""
    sources: int = 0
    doubts: str = ""

    @property
    def size(self) -> str:
        """How much is downloaded, in words."""
        known = self.archive_bytes or self.bytes
        return f"{known / 1e6:.0f} MB" if known else "size unknown"

    @property
    def trust(self) -> str:
        """How well its hash is attested, in words."""
        if not self.sha256:
            return "hash unknown: trusted on first use"
        if self.sources < ENOUGH_SOURCES:
            return "hash from one source"
        more = " or more" if self.sources >= MANY_SOURCES else ""
        return f"hash from {self.sources}{more} sources"


@dataclass(frozen=True)
class Catalogue:
    """All published models.

    Attributes:
        places: Key -> addresses in the order they are tried: the publisher's, then mirrors.
        bundles: Name -> names of models that fit together.
        models: The models.
    """

    places: dict[str, list[str]]
    bundles: dict[str, list[str]]
    models: tuple[Entry, ...]

    def find(self, name: str) -> Entry:
        """The model of that name.

        Raises:
            ModelError: If there is none; the nearest name is suggested.
        """
        for entry in self.models:
            if entry.name == name:
                return entry
        names = [entry.name for entry in self.models]
        near = get_close_matches(name, [*names, *self.bundles], 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else "see: rmpe models catalogue"
        raise ModelError(f"{name}: not in the catalogue; {hint}")

    def expand(self, names: tuple[str, ...]) -> list[Entry]:
        """The models of some names and bundles, each once, in order.

        Raises:
            ModelError: If a name is unknown.
        """
        flat = [one for name in names for one in self.bundles.get(name, [name])]
        return [self.find(name) for name in dict.fromkeys(flat)]

    def addresses(self, entry: Entry, mirror: str | None = None) -> tuple[str, ...]:
        """Where a model lies, in the order the addresses are tried.

        Args:
            entry: The model.
            mirror: A folder of one's own, tried alone: its address and the file's last path part.
        """
        if mirror:
            return (f"{mirror.rstrip('/')}/{entry.file.rpartition('/')[2]}",)
        return tuple(place + entry.file for place in self.places[entry.place])


def read_catalogue(text: str, source: str) -> Catalogue:
    """A catalogue from TOML.

    Args:
        text: The TOML.
        source: What to call it in error messages.

    Raises:
        DataError: If it is not a catalogue, a place or a bundle's member is missing from it, or a
            name is there twice.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{source}: not valid TOML: {error}") from error
    catalogue = from_mapping(Catalogue, data, source)
    _check(catalogue, source)
    return catalogue


@cache
def shipped_catalogue() -> Catalogue:
    """The catalogue that ships with the package."""
    file = resources.files("rmpe") / "data" / "catalogue.toml"
    return read_catalogue(file.read_text("utf-8"), "catalogue.toml")


def _check(catalogue: Catalogue, source: str) -> None:
    names = [entry.name for entry in catalogue.models]
    twice = {name for name in names if names.count(name) > 1 or name in catalogue.bundles}
    problems = [f"{name!r} is there twice" for name in sorted(twice)]
    problems += [
        f"bundle {bundle!r} names {name!r}, which is not there"
        for bundle, members in catalogue.bundles.items()
        for name in members
        if name not in names
    ]
    problems += [
        f"{entry.name!r} lies at {entry.place!r}, which has no addresses"
        for entry in catalogue.models
        if not catalogue.places.get(entry.place)
    ]
    if problems:
        raise DataError(f"{source}: {problems[0]}")
