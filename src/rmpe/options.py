"""One door for models: every entrance names them the same way, loads them and knows them again."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any

from rmpe.associate import associator
from rmpe.cards import ModelCard, card_beside, find_card
from rmpe.detect import WHOLE_IMAGE, Detector, RecordedBoxes, WholeImage, load_detector
from rmpe.errors import UsageError
from rmpe.estimate.one_stage import OneStageModel
from rmpe.estimate.pose_model import PoseModel
from rmpe.estimate.stn import NO_STN, Stn, load_stn
from rmpe.media.arrays import ChannelOrder
from rmpe.models import chosen_stn, resolve_model
from rmpe.one_stage import OneStageEstimator
from rmpe.pipeline import Estimator
from rmpe.runtime import Device, Session, sha256_of
from rmpe.suppress import suppressor

DEFAULT_MIN_SCORE = 0.05


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """The models of a pipeline and how they run.

    Attributes:
        detector: ONNX file, name of an installed model, or ``whole-image``; ``None`` = the default
            model.
        boxes: File of precomputed boxes (COCO results or annotations) in place of a detector.
        annotations: COCO file that says which image each of ``boxes`` belongs to.
        pose: ONNX file or name of the single-person pose model, or of a one-stage model, which
            needs no detector; ``None`` = the default model.
        stn: ONNX file or name of a spatial transformer, or ``none``; ``None`` = the one that the
            user made the default, else the one that the pose model's card names, which is none for
            most published models.
        card: Model card of the pose model, where it has none of its own.
        nms: ``parametric``, another of `rmpe.suppress.SUPPRESSORS`, or a TOML file of learned
            parameters.
        associate: What decides whose joint a joint is, where people overlap: ``none`` = everybody
            has the best of their own; ``paper`` or ``released``, see docs/crowds.md.
        device: Where the models run.
        threads: Cores to use; 0 = all.
        batch: Most crops in one call of the pose model. Four suit a CPU's caches; a GPU wants 16
            or more.
        flip_test: Also run every crop mirrored and average: slower, a little better.
        min_score: Poses below it are left out, and boxes too poor to reach it are skipped; 0 for
            measuring AP.
        limit: Most people in one image.
        color: Order of the colour channels of arrays that are passed to the estimator: ``rgb``, or
            ``bgr`` for those that OpenCV read.
    """

    detector: str | Path | None = None
    boxes: Path | None = None
    annotations: Path | None = None
    pose: str | Path | None = None
    stn: str | Path | None = None
    card: Path | None = None
    nms: str = "parametric"
    associate: str = "none"
    device: Device = "auto"
    threads: int = 0
    batch: int = 4
    flip_test: bool = False
    min_score: float = DEFAULT_MIN_SCORE
    limit: int = 100
    color: ChannelOrder = "rgb"

    def __post_init__(self) -> None:
        self._check_types()
        if self.boxes and self.detector:
            raise UsageError("boxes and detector exclude each other: leave one of them out")
        if not 0 <= self.min_score <= 1:
            raise UsageError(f"min_score = {self.min_score} must lie in [0, 1]")
        for name, least in (("threads", 0), ("batch", 1), ("limit", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} = {getattr(self, name)} must be at least {least}")

    def _check_types(self) -> None:
        """That every option is what its annotation says, for callers whom nobody checks.

        Raises:
            UsageError: If one is not.
        """
        for names, kinds, wanted in (
            (("detector", "pose", "stn"), (str, Path, NoneType), "a name or a path"),
            (("boxes", "annotations", "card"), (str, Path, NoneType), "a path"),
            (("nms", "associate", "device", "color"), (str,), "a name"),
            (("threads", "batch", "limit"), (Integral,), "a whole number"),
            (("min_score",), (Real,), "a number"),
        ):
            for name in names:
                value = getattr(self, name)
                if not _is_one(value, kinds):
                    raise UsageError(f"{name} = {value!r} is not {wanted}")

    @property
    def cores(self) -> int:
        """How many cores the pipeline may use: never more than there are."""
        there = os.cpu_count() or 1
        return min(self.threads or there, there)

    def load(self, workers: int = 1, detector: Detector | None = None) -> Estimator:
        """Load the models and put the pipeline together.

        Args:
            workers: Images that `rmpe.stream` works on side by side; the cores are divided among
                them. One is best for single images, `cores` for many.
            detector: Any object that finds people, in place of the detector named here.

        Raises:
            RmpeError: If a model cannot be used or an option is wrong.
        """
        each = max(1, self.cores // max(1, workers))
        if self.detector and self.detector != WHOLE_IMAGE:
            resolve_model(self.detector, "detector")  # what is missing is said in pipeline order
        session = Session(resolve_model(self.pose, "pose"), self.device, each)
        card = find_card(session, self.card)
        suppress = suppressor(self.nms)
        associate = associator(self.associate)
        if card.kind == "one-stage":
            self._check_one_stage(session.path, detector)
            stages: Callable[..., Estimator] = partial(
                OneStageEstimator,
                WholeImage(),
                OneStageModel(session, card),  # type: ignore[arg-type] # see `OneStageEstimator`
            )
        else:
            stages = partial(
                Estimator,
                detector or self.load_detector(each),
                PoseModel(
                    session,
                    card,
                    flip_test=self.flip_test,
                    batch=self.batch,
                    several=self.associate != "none",
                ),
                self._load_stn(card, each),
                associate=associate,
            )
        return stages(
            suppress=suppress,
            min_score=self.min_score,
            limit=self.limit,
            workers=workers,
            color=self.color,
        )

    def _load_stn(self, card: ModelCard, threads: int) -> Stn | None:
        """The transformer before a pose model with this card, if any."""
        name = (chosen_stn() or card.stn) if self.stn is None else str(self.stn)
        if name in ("", NO_STN):
            return None
        return load_stn(resolve_model(name, "stn"), self.device, threads)

    def _check_one_stage(self, model: Path, detector: Detector | None) -> None:
        """Refuse what a one-stage model has no use for."""
        useless = {
            "detector": self.detector or detector,
            "boxes": self.boxes,
            "stn": self.stn and self.stn != NO_STN,
            "flip_test": self.flip_test,
            "associate": self.associate != "none",
        }
        for name, given in useless.items():
            if given:
                raise UsageError(
                    f"{model}: a one-stage model finds people by itself: leave {name} out, or "
                    "name a pose model"
                )

    def load_detector(self, threads: int = 0) -> Detector:
        """The detector alone; ``threads`` = threads for one call, 0 = the engine's choice.

        Raises:
            RmpeError: If the model or the file of boxes cannot be used.
        """
        if self.boxes:
            return RecordedBoxes(self.boxes, self.annotations)
        if self.detector == WHOLE_IMAGE:
            return WholeImage()
        return load_detector(resolve_model(self.detector, "detector"), self.device, threads)

    def fingerprint(self, estimator: Estimator) -> dict[str, Any]:
        """What decides the results, as JSON has it: two runs with the same one may be joined.

        Files count by their contents, models by the file that their name or the default stands for.
        Device, threads and batch are left out: only rounding differs. It can move a box across a
        threshold, though, and then a few poses of a video differ visibly. The default detector is
        left out, too, where a one-stage model finds people by itself.

        Args:
            estimator: What `load` made of these options.

        Raises:
            RmpeError: If a file is missing.
        """
        files: dict[str, Path | None] = {
            "boxes": self.boxes,
            "annotations": self.annotations if self.boxes else None,
            "card": self.card,
            "nms": Path(self.nms) if self.nms.endswith(".toml") else None,
        }
        detects = not isinstance(estimator, OneStageEstimator)
        if detects and self.boxes is None and self.detector != WHOLE_IMAGE:
            files["detector"] = resolve_model(self.detector, "detector")
        files["pose"] = resolve_model(self.pose, "pose")
        if estimator.stn:
            files["stn"] = estimator.stn.session.path
        for kind in ("detector", "pose", "stn"):
            if path := files.get(kind):
                files[f"{kind} card"] = card_beside(path)
        settings = {
            name: value
            for name, value in asdict(self).items()
            if name in ("nms", "associate", "flip_test", "min_score", "limit")
        }
        settings["detector"] = str(self.detector) if self.detector else None
        return settings | {name: sha256_of(path) for name, path in files.items() if path}


def _is_one(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def load(
    detector: str | Path | Detector | None = None,
    pose: str | Path | None = None,
    *,
    stn: str | Path | None = None,
    card: str | Path | None = None,
    nms: str | Path = "parametric",
    associate: str = "none",
    device: Device = "auto",
    threads: int = 0,
    workers: int = 1,
    batch: int = 4,
    flip_test: bool = False,
    min_score: float = DEFAULT_MIN_SCORE,
    limit: int = 100,
    color: ChannelOrder = "rgb",
) -> Estimator:
    """Load models and put the pipeline together.

    Args:
        detector: ONNX file, name of an installed model, or any `Detector` object; ``None`` = the
            default model.
        pose: ONNX file or name of the single-person pose model; ``None`` = the default model.
        stn: ONNX file or name of a spatial transformer, or ``none``; ``None`` = the one that the
            user made the default, else the one that the pose model's card names.
        card: Model card of the pose model, where it has none of its own.
        nms: See `PipelineOptions`, like all that follow.
        associate: What decides whose joint a joint is, where people overlap.
        device: Where the models run.
        threads: Cores to use; 0 = all.
        workers: Images that `rmpe.stream` works on side by side; the cores are divided among them.
        batch: Most crops in one call of the pose model.
        flip_test: Also run every crop mirrored and average.
        min_score: Poses below it are left out.
        limit: Most people in one image.
        color: ``bgr`` for arrays that OpenCV read.

    Raises:
        RmpeError: If a model cannot be used or an option is wrong.
    """
    named = detector is None or isinstance(detector, str | Path)
    given: dict[str, Any] = {"detector": detector, "workers": workers}  # whoever calls may err
    if not named and not callable(given["detector"]):
        raise UsageError(f"detector = {detector!r} is not a name, a path or a detector")
    if not isinstance(given["workers"], Integral):
        raise UsageError(f"workers = {workers!r} is not a whole number")
    options = PipelineOptions(
        detector=detector if named else None,  # type: ignore[arg-type] # `named` says it is one
        pose=pose,
        stn=stn,
        card=(Path(card) if card else None) if isinstance(card, str) else card,
        nms=str(nms) if isinstance(nms, Path) else nms,
        associate=associate,
        device=device,
        threads=threads,
        batch=batch,
        flip_test=flip_test,
        min_score=min_score,
        limit=limit,
        color=color,
    )
    return options.load(workers, None if named else detector)  # type: ignore[arg-type] # an object
