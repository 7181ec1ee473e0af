"""Training a pose estimator, SSTN and pose estimator joined, or a localisation net alone."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rmpe.datasets.sets import LARGEST_CROP, DataConfig, open_data
from rmpe.draw import draw_poses
from rmpe.errors import ModelError
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.checkpoint import build_net, load_checkpoint, probe
from rmpe.nets.parallel_sppe import ParallelSppe, SstnSppe
from rmpe.poses import Poses
from rmpe.training.loop import Trainer
from rmpe.training.pose.augment import AugmentConfig, Augmenter
from rmpe.training.pose.batch import Batch
from rmpe.training.pose.distill import Asking, pseudo_labels, teacher_heatmaps
from rmpe.training.pose.hints import HintsConfig, hinted
from rmpe.training.pose.objectives import (
    SstnConfig,
    sppe_objective,
    sstn_objective,
    stn_objective,
)
from rmpe.training.pose.onlooker import Onlooker
from rmpe.training.pose.validate import Validation
from rmpe.training.run import Log, Parts, RunConfig, Validate
from rmpe.training.worker import Worker

__all__ = ["PoseTask", "TrainConfig", "Trainer"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """A run that trains poses.

    The fields that every run has are those of `RunConfig`.

    Attributes:
        data: Whom to train on.
        stage: 1 = pose estimator alone; 2 = SSTN and pose estimator joined; ``stn`` = a
            localisation net alone, taught by the true transform, which can then stand before any
            pose model.
        model: Stage 1: name of the net in `rmpe.nets.checkpoint.NETS` and its arguments (``joints``
            is filled in).
        start: Checkpoint of a pose estimator to start from; stage 2 needs it, ``stn`` if its early
            blocks are used.
        small_size: Crop (height, width) in the first part of the run; cheaper steps first.
        small_share: Share of the steps at ``small_size``.
        sigma: Standard deviation of the target Gaussians, heatmap cells.
        interference: Stage 1: mu, the height of the target at the same joints of other people in
            the crop, for `rmpe predict --associate` (CrowdPose: 0.5). 0 = they do not count.
        distill: Stage 1 with ``data.teacher``: weight of the teacher's heatmaps in the loss, for
            all joints.
        teacher_view: What the teacher is shown: ``stored`` = the true box, once; its answer follows
            the augmentation. ``view`` = the augmented crop that the student sees, every time.
        hints: Which of the teacher's features are learned, too.
        augment: How people are changed.
        sstn: Stage 2 only.
    """

    data: DataConfig
    stage: Literal[1, 2, "stn"] = 1
    model: dict[str, Any] = field(default_factory=lambda: {"name": "lite", "pretrained": True})
    start: Path | None = None
    small_size: tuple[int, int] = (128, 96)
    small_share: float = 0.0
    sigma: float = 1.5
    interference: float = 0.0
    distill: float = 0.0
    teacher_view: Literal["stored", "view"] = "stored"
    hints: HintsConfig = field(default_factory=HintsConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    sstn: SstnConfig = field(default_factory=SstnConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model.get("name"), str):
            raise ValueError("model needs a name, e.g. model = { name = 'lite' }")
        if not 0 < self.sigma <= 100:
            raise ValueError(f"sigma = {self.sigma} must be above 0 and at most 100 cells")
        if not 0 <= self.interference < 1:
            raise ValueError(f"interference = {self.interference} must be at least 0 and below 1")
        if self.interference and (self.stage != 1 or self.distill):
            raise ValueError(
                "interference is for stage 1 without distill: a teacher's heatmaps say nothing of"
                " other people's joints"
            )
        if self.distill < 0:
            raise ValueError(f"distill = {self.distill} must not be negative")
        if not all(16 <= side <= LARGEST_CROP for side in self.small_size):
            raise ValueError(
                f"small_size = {list(self.small_size)}: sides must be at least 16 pixels"
            )
        if not isinstance(self.sstn.localisation.get("name"), str):
            raise ValueError("sstn.localisation needs a name")
        if not 0 <= self.small_share <= 1:
            raise ValueError(f"small_share = {self.small_share} must lie in [0, 1]")
        if self.stage == 2 and self.start is None:
            raise ValueError("stage 2 needs start = CHECKPOINT of a stage 1 run")
        if self.stage == "stn" and self.validate is not None:
            raise ValueError("validate measures poses; stage = 'stn' gives none")
        if self.distill and (self.stage != 1 or self.data.teacher is None):
            raise ValueError("distill needs data.teacher and stage 1")
        if self.teacher_view != "stored" and not self.distill:
            raise ValueError(
                f"teacher_view = {self.teacher_view!r} needs distill, the weight of the teacher"
            )

        if self.hints.tensors and (
            self.teacher_view != "view" or self.small_share or self.data.teacher_mirrored
        ):
            raise ValueError(
                "hints need teacher_view = 'view', small_share = 0 and data.teacher_mirrored ="
                " false: the teacher's features are those of the very crop"
            )

    def open(self, worker: Worker, log: Log) -> "PoseTask":
        """Open data and nets on the worker's device."""
        return PoseTask(self, worker, log)


class PoseTask:
    """People packed as crops, the nets of the stage and their loss; a `rmpe.training.run.Task`.

    Raises:
        RmpeError: If data or checkpoint are not usable.
    """

    def __init__(self, config: TrainConfig, worker: Worker, log: Log) -> None:
        self.config = config
        self.worker = worker
        self.log = log
        self.packed = open_data(config.data, log)
        self.items = len(self.packed)
        self.augmenter = self._augmenter()
        self.onlooker = self._onlooker()
        self.net: nn.Module
        self.net, self.parallel = self._nets()
        self.learner = self._learner()
        self.validation: Validate | None = self._validation()

    def batch(
        self, items: NDArray[np.int64], generator: np.random.Generator, done: float, share: slice
    ) -> Batch:
        """Augmented people."""
        size = self.config.small_size if done < self.config.small_share else self.config.data.size
        if self.onlooker is not None:  # it sees what the student sees, and small steps in full size
            batch = self.augmenter(items, generator, self.config.data.size, share)
            view, features = self.onlooker(batch.images)
            return replace(batch, teacher=view, hints=features or None).shrunk(size)
        composed = self.config.stage == 2 and self.config.sstn.sampling == "composed"
        return self.augmenter(items, generator, size, share, source=composed)

    def losses(self, net: nn.Module, batch: Batch) -> Parts:
        """The stage's objective."""
        if self.config.stage == "stn":
            return stn_objective(net, batch)
        if self.config.stage == 1:
            config = self.config
            return sppe_objective(
                net,
                batch,
                config.sigma,
                config.distill,
                config.interference,
                config.hints.weight,
            )
        return sstn_objective(net, self.parallel, batch, self.config.sigma, self.config.sstn)

    def pictures(self, batch: Batch) -> list[NDArray[np.uint8]]:
        """Crops of the proposals with the joints that are learnt from, faint where less so."""
        images = (batch.images.float() * PIXEL_SD + PIXEL_MEAN).clamp(0, 255).round().byte()
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())
        weights = batch.visible.float().cpu().numpy()
        points = batch.keypoints.float().cpu().numpy()
        points[weights <= 0] = np.nan
        height, width = pixels.shape[1:3]
        whole = np.tile([0.0, 0.0, width, height], (len(pixels), 1))
        skeleton = self.packed.people.skeleton
        people = Poses(points, weights.clip(0, 1), np.ones(len(pixels)), whole, skeleton)
        return [draw_poses(image, people[index]) for index, image in enumerate(pixels)]

    def describe(self) -> dict[str, Any]:
        """What the checkpoint says about the net."""
        data = self.config.data
        return {
            "model": self.model_config,
            "skeleton": data.skeleton,
            "size": list(data.size),
            "growth": data.growth,
            "alignment": "center",
        }

    def _augmenter(self) -> Augmenter:
        data = self.config.data
        pseudo = None
        heatmaps = None

        def progress(done: int, total: int) -> None:
            self.log(f"teacher: person {done} of {total}")

        if data.teacher is not None:
            asking = Asking(data.teacher, data.teacher_engine, data.teacher_mirrored)
            pseudo = pseudo_labels(self.packed, asking, progress)
            if self.config.distill and self.config.teacher_view == "stored":
                heatmaps = teacher_heatmaps(self.packed, asking, data.teacher_sigma, progress)
        device = self.worker.device
        return Augmenter(
            self.packed,
            self.config.augment,
            data.growth,
            pseudo,
            data.teacher_score,
            heatmaps,
            device=device,
            others=self.config.interference > 0,
        )

    def _onlooker(self) -> Onlooker | None:
        config, data = self.config, self.config.data
        if config.teacher_view == "stored" or data.teacher is None:
            return None
        skeleton = self.packed.people.skeleton
        return Onlooker(
            data.teacher,
            skeleton,
            data.teacher_sigma,
            data.teacher_engine,
            data.teacher_mirrored,
            config.hints.tensors,
        )

    def _learner(self) -> nn.Module:
        """The net, or what hints it."""
        hints = self.config.hints
        if not hints.tensors or self.onlooker is None:
            return self.net
        some = np.arange(0, self.items, max(1, self.items // hints.people))[: hints.people]
        generator = np.random.default_rng(self.config.seed)
        images = self.augmenter(some, generator, self.config.data.size).images
        return hinted(self.net, self.onlooker.learn_spread(images), images, hints)

    def _validation(self) -> Validation | None:
        config = self.config.validate
        data = self.config.data
        if config is None or self.worker.rank:
            return None
        return Validation(config, self.packed.people.skeleton, data.size, data.growth)

    def _nets(self) -> tuple[nn.Module, ParallelSppe | None]:
        """The net that learns, and the frozen one beside it in stage 2."""
        config = self.config
        parallel = None
        joints = len(self.packed.people.skeleton)
        self.model_config = {"joints": joints, **config.model}
        if self.model_config["joints"] != joints:
            raise ModelError(
                f"model.joints = {self.model_config['joints']}: {config.data.skeleton} has {joints}"
                " joints; leave it out"
            )
        if config.start is not None:
            net, self.model_config = self._checkpoint(config.start)
        else:
            net = build_net(self.model_config)
        if config.stage != 1:
            localisation = {"size": list(config.data.size), **config.sstn.localisation}
            if localisation["name"] in ("early_localisation", "backbone_localisation"):
                localisation["sppe"] = net
            transformer = build_net(localisation)
            if "sppe" in localisation:
                localisation["sppe"] = self.model_config
        if config.stage == 2:
            if config.sstn.parallel:
                other = config.sstn.parallel_start
                parallel = ParallelSppe(net if other is None else self._checkpoint(other)[0])
            net = SstnSppe(net, transformer)
            self.model_config = {
                "name": "sstn_sppe",
                "sppe": self.model_config,
                "localisation": localisation,
            }
        if config.stage == "stn":
            net = transformer
            self.model_config = localisation
        probe(net, config.data.size, self.model_config["name"])
        if config.small_share:
            probe(net, config.small_size, self.model_config["name"])
        for one in (net, parallel):
            if one is not None:
                one.to(self.worker.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net, parallel

    def _checkpoint(self, path: Path) -> tuple[nn.Module, dict[str, Any]]:
        """A pose estimator with the run's joints, and its net's configuration."""
        net, saved = load_checkpoint(path)
        if saved["skeleton"] != self.config.data.skeleton:
            raise ModelError(
                f"{path}: its skeleton is {saved['skeleton']}, not {self.config.data.skeleton}"
            )
        model: dict[str, Any] = saved["model"]
        return net, model
