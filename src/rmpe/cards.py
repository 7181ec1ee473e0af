"""Model cards: what a published model expects and answers, as data.

A card is a small TOML file. `find_card` looks for it in four places: a file the user names, the
ONNX file's own metadata (`METADATA_KEY`), a ``.toml`` beside the model, and the cards that ship
with the package (by SHA-256 of the model, by the names of its outputs, or by a word in its file
name).
"""

import json
import logging
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmpe.affine import Alignment
from rmpe.config import from_mapping
from rmpe.errors import DataError, ModelError
from rmpe.files import is_file, parse_toml, read_bytes
from rmpe.runtime import Session, sha256_of

logger = logging.getLogger(__name__)

METADATA_KEY = "rmpe_card"
# Pixels of a side of a model's input; and no factor of a card is larger.
LARGEST_SIDE = 8192
MOST = 100
DECODERS = {
    "pose": ("argmax", "dark", "integral-sigmoid", "integral-softmax", "simcc", "keypoints"),
    "detector": ("yolox", "boxes", "nms-boxes"),
    "one-stage": ("rtmo", "yolo-pose"),
    "stn": ("theta",),
}
# A family's card fits models of any number of joints: these are the ones people publish.
SKELETON_OF_COUNT = {17: "coco17", 21: "hand21", 26: "halpe26", 133: "wholebody133"}


@dataclass(frozen=True)
class ModelCard:
    """What one model, or one family of models, expects and answers.

    Attributes:
        kind: ``pose``, ``detector``, ``one-stage`` (boxes and joints in one pass) or ``stn``.
        name: What to call it.
        decoder: How its outputs are read; which ones exist depends on the kind (`DECODERS`).
        skeleton: Name of the joints' skeleton or path of its TOML (pose models).
        size: Input (height, width); ``(0, 0)`` = read it from the model.
        stride: Pixels of a side of the coarsest cells, for a detector whose input may have any
            multiples of it as sides: it is given only the part of ``size`` that a photo covers;
            0 = always the whole.
        color: ``rgb`` or ``bgr``.
        layout: Order of the input's axes: ``nchw`` (channels first) or ``nhwc`` (channels last).
        mean: Three numbers subtracted from the 0..255 channels, in the model's channel order.
        sd: Three numbers the result is divided by.
        growth: Factor by which a box is grown before it is cut out.
        alignment: Half-pixel rule of the crop (``docs/conventions.md``).
        blur: Odd width of the Gaussian that smooths heatmaps before sub-pixel decoding; 0 = none.
        split: SimCC bins per crop pixel.
        score_threshold: Boxes below it are noise (detectors). With ``voters`` a box that is kept
            may end below it.
        nms: IoU above which the worse of two boxes is dropped (detectors).
        voters: How many of the boxes that agree on a person score it, see `rmpe.boxes.vote`; 0 =
            the best box alone (detectors of the decoders ``boxes`` and ``yolox``).
        keep_overlap: IoU of the region that theta looks at with the proposal's crop from which the
            proposal is kept as it is (spatial transformers); 1 = every theta that moves anything
            is applied.
        second_look: Whether the pose model sees a proposal that is not kept as well as what theta
            looks at, and both answers are fused (spatial transformers); a pose model that was
            trained behind its transformer needs none.
        stn: Name of the installed spatial transformer that stands before it unless another, or
            none, is asked for or the user's default (pose models); empty = none.
        license: Licence of the weights.
        source: Where the model comes from.
        notes: Training data, figures, known failures.
        sha256: Files this card belongs to.
        outputs: Output names this card belongs to, where no file matches.
        family: Words in a file name this card belongs to, where nothing else matches. A card with
            both ``outputs`` and ``family`` belongs to models that have both.
        trust: Why an installed file is believed to be the right one.
    """

    kind: Literal["pose", "detector", "one-stage", "stn"]
    name: str
    decoder: str
    skeleton: str = "coco17"
    size: tuple[int, int] = (0, 0)
    stride: int = 0
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sd: tuple[float, float, float] = (1.0, 1.0, 1.0)
    growth: float = 1.25
    alignment: Alignment = "corner"
    blur: int = 0
    split: float = 2.0
    score_threshold: float = 0.05
    nms: float = 0.6
    voters: int = 0
    keep_overlap: float = 1.0
    second_look: bool = False
    stn: str = ""
    license: str = "unknown"
    source: str = ""
    notes: str = ""
    sha256: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    trust: str = ""

    def __post_init__(self) -> None:
        decoders = DECODERS[self.kind]
        if self.decoder not in decoders:
            raise ValueError(
                f"decoder {self.decoder!r}, known for a {self.kind} model: {', '.join(decoders)}"
            )
        if not all(0 <= side <= LARGEST_SIDE for side in self.size):
            raise ValueError(f"size {self.size}: sides must be 0 to {LARGEST_SIDE} pixels")
        if self.stride and (
            self.decoder != "boxes"
            or not 0 < self.stride <= min(self.size)
            or any(side % self.stride for side in self.size)
        ):
            raise ValueError(
                f"stride {self.stride}: is for the decoder boxes only, and divides both sides of"
                f" size {self.size}"
            )
        if min(*self.sd, self.growth, self.split) <= 0:
            raise ValueError(
                f"sd {self.sd}, growth {self.growth} and split {self.split} must be above 0"
            )
        if max(self.growth, self.split) > MOST:
            raise ValueError(f"growth {self.growth} and split {self.split} must be at most {MOST}")
        if not (0 <= self.score_threshold <= 1 and 0 <= self.nms <= 1):
            raise ValueError(
                f"score_threshold {self.score_threshold} and nms {self.nms} must lie in [0, 1]"
            )
        if self.voters and self.decoder not in ("boxes", "yolox"):
            raise ValueError(f"voters {self.voters}: is for the decoders boxes and yolox only")
        if not 0 <= self.voters <= MOST:
            raise ValueError(f"voters {self.voters} must lie in [0, {MOST}]")
        if not 0 < self.keep_overlap <= 1:
            raise ValueError(f"keep_overlap {self.keep_overlap} must be above 0 and at most 1")
        if not 0 <= self.blur <= MOST or (self.blur > 0 and self.blur % 2 == 0):
            raise ValueError(f"blur {self.blur} must be 0 or an odd number up to {MOST}")

    @classmethod
    def from_toml(cls, text: str, source: str) -> "ModelCard":
        """Read a card.

        Args:
            text: The TOML.
            source: What to call it in error messages.

        Raises:
            ModelError: If it is not TOML, misses a field, or has one that a card does not know.
        """
        place = f"{source}: model card"
        try:
            return from_mapping(cls, parse_toml(text, place), place)
        except DataError as error:
            raise ModelError(str(error)) from error

    def input_shape(self, session: Session) -> tuple[int | None, ...]:
        """Shape of a model's input as (n, channels, height, width), whatever its layout.

        Raises:
            ModelError: If the model takes uint8 pixels and this card would change them.
        """
        if session.input_type == np.uint8 and (any(self.mean) or set(self.sd) != {1}):
            raise ModelError(
                f"{session.path}: takes uint8 pixels: leave mean and sd out of its card"
            )
        shape = next(iter(session.inputs.values()))
        if self.layout == "nhwc" and len(shape) == 4:
            return shape[0], shape[3], shape[1], shape[2]
        return shape

    def arranged(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """A batch ``(n, 3, height, width)`` with the axes in the order of the model's layout."""
        order = (0, 2, 3, 1) if self.layout == "nhwc" else (0, 1, 2, 3)
        return np.ascontiguousarray(batch.transpose(order))

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
    beside = card_beside(session.path)
    if text := session.metadata.get(METADATA_KEY):
        found = ModelCard.from_toml(text, f"{session.path} (metadata {METADATA_KEY!r})")
        found = _with_skeleton_beside(found, session.path.parent)
        if beside:
            _warn_of_another_card(beside, found)
        return found
    if beside:
        return read_card(beside)
    cards = shipped_cards()
    digest = sha256_of(session.path) if any(known.sha256 for known in cards) else ""
    for known in cards:
        if digest in known.sha256:
            return known
    fitting = [known for known in cards if _fits(known, session)]
    if fitting:  # the card that asks for most knows the model best
        best = max(fitting, key=lambda known: (bool(known.outputs), bool(known.family)))
        return _with_skeleton(best, session)
    raise ModelError(
        f"{session.path}: no model card found: write {session.path.with_suffix('.toml').name} "
        "beside it or pass --card FILE (docs/model_cards.md)"
    )


def _warn_of_another_card(beside: Path, inside: ModelCard) -> None:
    with suppress(ModelError):  # a TOML file that is no card is about something else
        if read_card(beside) != inside:
            logger.warning("%s: not used, the model has a card inside, which counts", beside)


def card_beside(model: Path) -> Path | None:
    """The card file that lies beside a model file, if there is one."""
    beside = model.with_suffix(".toml")
    return beside if beside.is_file() else None


def read_card(path: Path) -> ModelCard:
    """Read a card file. A skeleton file that it names is looked for beside it first.

    Raises:
        ModelError: If it cannot be read or is not a card.
    """
    try:
        text = read_bytes(path).decode("utf-8")
    except (DataError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot read the model card: {error}") from error
    return _with_skeleton_beside(ModelCard.from_toml(text, str(path)), path.parent)


def _with_skeleton_beside(card: ModelCard, folder: Path) -> ModelCard:
    """The card with the full path of its skeleton file, if that lies in a folder."""
    beside = folder / card.skeleton
    if card.skeleton.endswith(".toml") and is_file(beside):
        return replace(card, skeleton=str(beside))
    return card


@cache
def shipped_cards() -> tuple[ModelCard, ...]:
    """The cards that ship with the package, sorted by file name."""
    folder = resources.files("rmpe") / "data" / "cards"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")),
        key=lambda file: file.name,
    )
    return tuple(ModelCard.from_toml(file.read_text("utf-8"), file.name) for file in files)


def _fits(card: ModelCard, session: Session) -> bool:
    """Whether a model shows every sign that a card knows its models by."""
    if not (card.outputs or card.family):
        return False
    by_outputs = set(card.outputs) <= set(session.outputs)
    name = session.path.name.lower()
    return by_outputs and (not card.family or any(word in name for word in card.family))


def _with_skeleton(card: ModelCard, session: Session) -> ModelCard:
    """A family's card with the skeleton that the model's number of outputs stands for.

    Raises:
        ModelError: If no skeleton that ships has that many joints.
    """
    if card.kind == "pose":
        shape = next(iter(session.outputs.values()), ())
        joints = shape[1] if len(shape) in (3, 4) else None
    elif card.decoder == "rtmo":
        shape = session.outputs.get("keypoints", ())
        joints = shape[2] if len(shape) == 4 else None
    else:
        joints = None
    if joints is None:
        return card
    if joints not in SKELETON_OF_COUNT:
        raise ModelError(
            f"{session.path}: answers {joints} joints and no card says which; write a card with "
            "skeleton = FILE beside it (docs/model_cards.md)"
        )
    return replace(card, skeleton=SKELETON_OF_COUNT[joints])


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(entry) for entry in value) + "]"
    if isinstance(value, str):
        # JSON's escapes are among TOML's, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value).lower() if isinstance(value, bool) else repr(value)
