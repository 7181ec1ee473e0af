"""Training a person detector, ours or SSD-512, on whole photos."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rmpe.detect import load_detector
from rmpe.draw import draw_poses
from rmpe.errors import ModelError
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.checkpoint import build_net, load_checkpoint, probe
from rmpe.nets.detectors.person_detector import STRIDES, PersonDetector
from rmpe.nets.detectors.ssd512 import Ssd512
from rmpe.nets.detectors.ssd512_weights import load_published
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.training.detector.augment import PhotoAugmentation, PhotoBatch, draw_inputs, draw_patches
from rmpe.training.detector.hints import DetectorHintsConfig, HintedDetector, hint_loss
from rmpe.training.detector.losses import (
    DetectionTargets,
    detection_loss,
    distillation_loss,
    ssd_objective,
)
from rmpe.training.detector.photos import PackedPhotos, PhotoDataConfig, open_photos
from rmpe.training.detector.teacher import YoloxTeacher
from rmpe.training.detector.validate import BoxValidation
from rmpe.training.run import Log, Parts, RunConfig, Validate
from rmpe.training.teacher_engine import Engine
from rmpe.training.worker import Worker

COCO = load_skeleton("coco17")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(RunConfig):
    """A run that trains a person detector; see also `RunConfig`.

    Attributes:
        photos: The training photos.
        model: ``person_detector`` or ``ssd512`` and its arguments, see `rmpe.nets.checkpoint.NETS`.
        start: Checkpoint of a detector to start from; its net must be of the kind that ``model``
            names, and keeps its own arguments.
        weights: For SSD-512, published VGG-16 or SSD-512 weights (a PyTorch state dictionary).
        augment: The augmentation.
        last: The augmentation at the end of the run; its ``size`` is the input size of the net.
        last_share: Share of the steps that use ``last``.
        teacher: YOLOX model for distillation, for ``person_detector``.
        teacher_engine: What runs it; OpenVINO is quicker where the CPU has bfloat16.
        hints: Which of the teacher's features are learned beside its answers.
        score_threshold: Score threshold on the card.
        nms: IoU threshold of box NMS on the card.
    """

    photos: PhotoDataConfig
    model: dict[str, Any] = field(
        default_factory=lambda: {"name": "person_detector", "pretrained": True}
    )
    start: Path | None = None
    weights: Path | None = None
    augment: PhotoAugmentation = field(default_factory=lambda: PhotoAugmentation((416, 416)))
    last: PhotoAugmentation = field(
        default_factory=lambda: PhotoAugmentation((416, 416), (0.75, 1.25), mosaic=0.0)
    )
    last_share: float = 0.25
    teacher: Path | None = None
    teacher_engine: Engine = "onnxruntime"
    hints: DetectorHintsConfig = field(default_factory=DetectorHintsConfig)
    score_threshold: float = 0.05
    nms: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model.get("name"), str):
            raise ValueError("model needs a name, e.g. model = { name = 'person_detector' }")
        for name in ("last_share", "score_threshold", "nms"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} must lie in [0, 1]")
        if self.teacher and self.model["name"] != "person_detector":
            raise ValueError("a teacher needs the net person_detector, which has the same cells")
        for name in ("augment", "last"):
            size = getattr(self, name).size
            if self.model["name"] == "person_detector" and any(side % STRIDES[-1] for side in size):
                raise ValueError(
                    f"{name}.size = {list(size)}: person_detector takes multiples of {STRIDES[-1]}"
                )
        if self.hints.tensors and not self.teacher:
            raise ValueError("hints need a teacher")
        if self.weights and self.model["name"] != "ssd512":
            raise ValueError("weights = FILE is for ssd512; person_detector has pretrained = true")

    def open(self, worker: Worker, log: Log) -> "DetectorTask":
        """Open data and nets on the worker's device."""
        return DetectorTask(self, worker, log)


@dataclass(frozen=True)
class DetectorBatch:
    """Inputs ``(B, 3, H, W)``, RGB on the 0..255 scale, and their targets."""

    images: Tensor
    targets: DetectionTargets


class DetectorTask:
    """Packed photos, a detector and its loss; a `rmpe.training.run.Task`.

    Raises:
        RmpeError: If data, weights or teacher are not usable.
    """

    def __init__(self, config: DetectorConfig, worker: Worker, log: Log) -> None:
        self.config = config
        self.device = worker.device
        labeller = load_detector(config.photos.labeller) if config.photos.labeller else None
        self.packed = open_photos(config.photos, labeller, log)
        self.items = len(self.packed)
        self._canvases = _on_device(self.packed, self.device)
        self.net: nn.Module
        self.net, self.model_config = _net(config, log)
        probe(self.net, config.last.size, self.model_config["name"])
        self.net.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        names = config.hints.names
        self.learner = self.net
        if names and isinstance(self.net, PersonDetector):
            self.learner = HintedDetector(self.net)
        self.teacher = None
        if config.teacher:
            engine = config.teacher_engine
            self.teacher = YoloxTeacher(config.teacher, engine, config.threads, names)
        self.validation: Validate | None = None
        if config.validate and not worker.rank:
            self.validation = BoxValidation(config.validate, config.last.size, config.nms)

    def batch(
        self, items: NDArray[np.int64], generator: np.random.Generator, done: float, share: slice
    ) -> DetectorBatch:
        """Augmented photos; mosaics draw three more photos per input."""
        how = self.config.augment if done < 1 - self.config.last_share else self.config.last
        mosaic = bool(generator.random() < how.mosaic)
        others = generator.integers(self.items, size=(len(items), 3))
        seed = int(generator.integers(2**62)) + share.start
        items = items[share]
        if mosaic:
            items = np.concatenate([items[:, None], others[share]], axis=1).ravel()
        draws = torch.Generator().manual_seed(seed)
        photos = self._photos(items)
        if isinstance(self.net, Ssd512):
            return DetectorBatch(*draw_patches(photos, how, draws))
        return DetectorBatch(*draw_inputs(photos, how, draws, mosaic))

    def losses(self, net: nn.Module, batch: DetectorBatch) -> Parts:
        """Losses against the annotations and, with a teacher, against its predictions."""
        size = (batch.images.shape[2], batch.images.shape[3])
        images = ((batch.images - PIXEL_MEAN) / PIXEL_SD).contiguous(
            memory_format=torch.channels_last
        )
        found = net(images)
        if isinstance(self.net, Ssd512):
            return ssd_objective(found, self.net.defaults, size, batch.targets)
        if self.teacher is None:
            return detection_loss(found, size, batch.targets)
        answer = self.teacher(batch.images)
        parts = {}
        if self.config.hints.tensors:
            found, features = found
            parts["hints"] = self.config.hints.weight * hint_loss(features, answer.hints)
        parts |= detection_loss(found, size, batch.targets)
        return parts | distillation_loss(found, answer.boxes, answer.scores)

    def pictures(self, batch: DetectorBatch) -> list[NDArray[np.uint8]]:
        """Inputs with the boxes of people, white, and of ignored regions, magenta."""
        images = batch.images.float().clamp(0, 255).round().byte().permute(0, 2, 3, 1)
        pixels = np.ascontiguousarray(images.cpu().numpy())
        boxes = batch.targets.people.float().cpu().numpy()
        real = batch.targets.real.cpu().numpy()
        ignored = batch.targets.ignored.cpu().numpy()
        return [
            _drawn(image, own[people], own[regions])
            for image, own, people, regions in zip(pixels, boxes, real, ignored, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """What the checkpoint says about the net."""
        config = self.config
        settings = {"score_threshold": config.score_threshold, "nms": config.nms}
        return {"model": self.model_config, "size": list(config.last.size), **settings}

    def _photos(self, items: NDArray[np.int64]) -> PhotoBatch:
        kinds = self.packed.kinds[items]
        most = max(1, int((kinds > 0).sum(axis=1).max()))  # the padding that this batch needs
        rows = (self.packed.sizes[items], self.packed.boxes[items, :most], kinds[:, :most])
        return PhotoBatch(
            self._canvases(items), *(torch.from_numpy(row).to(self.device) for row in rows)
        )


def _drawn(
    image: NDArray[np.uint8], people: NDArray[np.float32], ignored: NDArray[np.float32]
) -> NDArray[np.uint8]:
    count = len(people)
    joints = len(COCO)
    nothing = np.full((count, joints, 2), np.nan)
    boxes = Poses(nothing, np.zeros((count, joints)), np.ones(count), people, COCO)
    return draw_poses(image, boxes, show_boxes=True, other_boxes=ignored)


def _on_device(packed: PackedPhotos, device: str) -> Callable[[NDArray[np.int64]], Tensor]:
    """A function that returns canvases: kept in memory on a GPU, read from the file on a CPU."""
    if device == "cpu":
        return lambda items: torch.from_numpy(packed.canvases[items])
    stored = torch.from_numpy(np.array(packed.canvases)).to(device)
    return lambda items: stored[torch.from_numpy(items).to(device)]


def _net(config: DetectorConfig, log: Log) -> tuple[nn.Module, dict[str, Any]]:
    """The net to train and its configuration."""
    if config.start is not None:
        net, saved = load_checkpoint(config.start)
        model = saved["model"]
        if model["name"] != config.model["name"]:
            raise ModelError(
                f"{config.start}: its net is {model['name']}, not {config.model['name']}"
            )
    else:
        net = build_net(config.model)
        model = config.model
    if not isinstance(net, PersonDetector | Ssd512):
        raise ModelError(f"{model['name']} is not a detector; use person_detector or ssd512")
    if isinstance(net, Ssd512) and config.weights is not None:
        state = torch.load(config.weights, map_location="cpu", weights_only=True)
        log(f"{config.weights}: {load_published(net, state)}")
    return net, model
