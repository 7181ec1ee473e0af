"""Model cards: what a published model expects and answers, as data.

A card is a small TOML file. `find_card` looks for it in four places: a file the user names, the
ONNX file's own metadata (`METADATA_KEY`), a ``.toml`` beside the model, and the cards that ship
with the package (by SHA-256 of the model, by the names of its outputs, or by a word in its file
name).
"""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from rmpe.affine import Alignment
from rmpe.config import from_mapping
from rmpe.errors import DataError, ModelError
from rmpe.runtime import Session, sha256_of

METADATA_KEY = "rmpe_card"
DECODERS = {
    "pose": ("argmax", "dark", "integral-sigmoid", "integral-softmax", "simcc", "keypoints"),
    "detector": ("yolox", "boxes"),
    "stn": ("theta",),
}


@dataclass(frozen=True)
class ModelCard:
    """What one model, or one family of models, expects and answers.

    Attributes:
        kind: ``pose``, ``detector`` or ``stn``.
        name: What to call it.
        decoder: How its outputs are read; which ones exist depends on the kind (`DECODERS`).
        skeleton: Name of the joints' skeleton or path of its TOML (pose models).
        size: Input (height, width); ``(0, 0)`` = read it from the model.
        color: ``rgb`` or ``bgr``.
        mean: Three numbers subtracted from the 0..255 channels, in the model's channel order.
        sd: Three numbers the result is divided by.
        growth: Factor by which a box is grown before it is cut out.
        alignment: Half-pixel rule of the crop (``docs/conventions.md``).
        blur: Odd width of the Gaussian that smooths heatmaps before sub-pixel decoding; 0 = none.
        split: SimCC bins per crop pixel.
        score_gain: Factor of the joints' scores (clipped to 1), for a model whose responses are not
            on a scale of likelihoods: the share of visible joints found divided by their mean
            response.
        score_threshold: Boxes below it are noise (detectors).
        nms: IoU above which the worse of two boxes is dropped (detectors).
        license: Licence of the weights.
        source: Where the model comes from.
        notes: Training data, figures, known failures.
        sha256: Files this card belongs to.
        outputs: Output names this card belongs to, where no file matches.
        family: Words in a file name this card belongs to, where nothing else matches.
    """

    kind: Literal["pose", "detector", "stn"]
    name: str
    decoder: str
    skeleton: str = "coco17"
    size: tuple[int, int] = (0, 0)
    color: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sd: tuple[float, float, float] = (1.0, 1.0, 1.0)
    growth: float = 1.25
    alignment: Alignment = "corner"
    blur: int = 0
    split: float = 2.0
    score_gain: float = 1.0
    score_threshold: float = 0.05
    nms: float = 0.6
    license: str = "unknown"
    source: str = ""
    notes: str = ""
    sha256: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    family: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        decoders = DECODERS[self.kind]
        if self.decoder not in decoders:
            raise ValueError(
                f"decoder {self.decoder!r}, known for a {self.kind} model: {', '.join(decoders)}"
            )
        if min(self.size) < 0 or min(*self.sd, self.growth, self.score_gain) <= 0:
            raise ValueError(
                f"size {self.size} must not be negative, sd {self.sd}, growth {self.growth} and score_gain"
                f" {self.score_gain} be above 0"
            )
        if self.blur < 0 or (self.blur > 0 and self.blur % 2 == 0):
            raise ValueError(f"blur {self.blur} must be 0 or an odd number")

    @classmethod
    def from_toml(cls, text: str, source: str) -> "ModelCard":
        """Read a card.

        Args:
            text: The TOML.
            source: What to call it in error messages.

        Raises:
            ModelError: If it is not TOML, misses a field, or has one that a card does not know.
        """
        try:
            return from_mapping(cls, tomllib.loads(text), f"{source}: model card")
        except tomllib.TOMLDecodeError as error:
            raise ModelError(f"{source}: the model card is not valid TOML: {error}") from error
        except DataError as error:
            raise ModelError(str(error)) from error

    def to_toml(self) -> str:
        """The card as TOML; only what differs from the defaults."""
        lines = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                lines.append(f"{field.name} = {_toml_value(value)}")
        return "\n".join(lines) + "\n"


def find_card(session: Session, card: Path | None = None) -> ModelCard:
    """The card of a loaded model.

    Args:
        session: The model.
        card: The file the user named, if any.

    Raises:
        ModelError: If there is none, with what to do, or the one found is wrong.
    """
    if card is not None:
        return read_card(card)
    if text := session.metadata.get(METADATA_KEY):
        return ModelCard.from_toml(text, f"{session.path} (metadata {METADATA_KEY!r})")
    if beside := card_beside(session.path):
        return read_card(beside)
    cards = shipped_cards()
    digest = sha256_of(session.path) if any(known.sha256 for known in cards) else ""
    for known in cards:
        if digest in known.sha256:
            return known
    for known in cards:
        if known.outputs and set(known.outputs) <= set(session.outputs):
            return known
    for known in cards:
        if any(word in session.path.name.lower() for word in known.family):
            return known
    raise ModelError(
        f"{session.path}: no model card found: write {session.path.with_suffix('.toml').name} beside it or pass --card FILE (docs/model_cards.md)"
    )


def card_beside(model: Path) -> Path | None:
    """The card file that lies beside a model file, if there is one."""
    beside = model.with_suffix(".toml")
    return beside if beside.is_file() else None


def read_card(path: Path) -> ModelCard:
    """Read a card file.

    Raises:
        ModelError: If it cannot be read or is not a card.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot read the model card: {error}") from error
    return ModelCard.from_toml(text, str(path))


@cache
def shipped_cards() -> tuple[ModelCard, ...]:
    """The cards that ship with the package, sorted by file name."""
    folder = resources.files("rmpe") / "data" / "cards"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")),
        key=lambda file: file.name,
    )
    return tuple(ModelCard.from_toml(file.read_text("utf-8"), file.name) for file in files)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(entry) for entry in value) + "]"
    if isinstance(value, str):
        escaped = (
            value.replace("\\", "\\\\")
            .replace('"', '\\"')
            .replace("\n", "\\n")
            .replace("\t", "\\t")
        )
        return f'"{escaped}"'
    return repr(value)
