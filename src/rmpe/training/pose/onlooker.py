"""A teacher that looks at every view that the student is shown, cut, turned and covered as it is.

Source: a patient and consistent teacher: Beyer et al., "Knowledge distillation: A good teacher is
patient and consistent", CVPR 2022.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from rmpe import affine
from rmpe.estimate.crops import network_input
from rmpe.estimate.pose_model import PoseModel
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.runtime import Session
from rmpe.skeletons import Skeleton
from rmpe.training.pose.distill import TeacherView
from rmpe.training.pose.hints import Features, Scale
from rmpe.training.teacher_engine import Engine, load_engine, load_teacher, with_outputs


class Onlooker:
    """A teacher for the crops of a batch.

    Args:
        teacher: ONNX pose model that answers heatmaps; joints are matched by name.
        skeleton: The student's joints.
        sigma: Standard deviation of the Gaussians that the teacher was taught, cells.
        engine: What runs it.
        mirrored: Whether it also looks at the mirrored crops, and the two answers are averaged.
        tensors: Its tensors that are answered beside the heatmaps, as hints; not with ``mirrored``.
    """

    def __init__(
        self,
        teacher: Path,
        skeleton: Skeleton,
        sigma: float,
        engine: Engine = "onnxruntime",
        mirrored: bool = False,
        tensors: Sequence[Sequence[str]] = (),
    ) -> None:
        self.teacher, self.skeleton, self.sigma = teacher, skeleton, sigma
        self.engine: Engine = engine
        self.mirrored = mirrored
        self.tensors = [list(part) for part in tensors]
        self.scale: Scale | None = None
        self._model: PoseModel | None = None

    def __call__(self, images: Tensor) -> tuple[TeacherView, list[Features]]:
        """Look at normalised crops ``(B, 3, H, W)``, resized to the teacher's size if need be.

        Returns:
            Its heatmaps, and its features for each part of the net; scaled, once the spread is
            known.

        Raises:
            ModelError: If the model or the engine cannot be used.
        """
        # Loaded here because an engine does not survive the fork of a process that makes batches.
        if self._model is None:
            self._model = load_teacher(self.teacher, self.engine, mirrored=self.mirrored)
            if self.tensors:
                self._model.session = self._talkative()
        model = self._model
        if images.shape[2:] != model.size:
            images = F.interpolate(
                images, model.size, mode="bilinear", align_corners=False, antialias=True
            )
        pixels = (images * PIXEL_SD + PIXEL_MEAN).round().clamp(0, 255).to(torch.uint8)
        crops = pixels.permute(0, 2, 3, 1).cpu().numpy()
        if not self.tensors:
            return self._view(model, model.heatmaps(crops), images.device), []
        starts = range(0, len(crops), model.batch)
        outputs = [
            model.session(network_input(crops[start : start + model.batch], model.card))
            for start in starts
        ]
        heatmaps, *rest = (np.concatenate(one) for one in zip(*outputs, strict=True))
        found = {
            name: torch.from_numpy(one).to(images.device)
            for name, one in zip(list(model.session.outputs)[1:], rest, strict=True)
        }
        features = [[found[name] for name in part] for part in self.tensors]
        if self.scale is not None:
            features = self.scale(features)
        return self._view(model, heatmaps, images.device), features

    def learn_spread(self, images: Tensor) -> list[Features]:
        """Take the spread of the features from these crops; answers the features, scaled."""
        _, features = self(images)
        self.scale = Scale(features)
        self._model = None  # it would not survive a fork
        return self.scale(features)

    def _talkative(self) -> Session:
        names = dict.fromkeys(name for part in self.tensors for name in part)
        with tempfile.TemporaryDirectory() as folder:
            file = with_outputs(self.teacher, names, Path(folder))
            return load_engine(file, self.engine)

    def _view(
        self, model: PoseModel, heatmaps: NDArray[np.float32], device: torch.device
    ) -> TeacherView:
        source = model.skeleton.correspondence(self.skeleton)
        maps = heatmaps[:, source].clip(0, 1)
        maps[:, source < 0] = 0
        grid = (maps.shape[2], maps.shape[3])
        to_cells = affine.crop_to_heatmap(model.size, grid, model.card.alignment)
        to_cells = affine.compose(to_cells, affine.normalised_to_pixels(model.size))
        crop_to_maps = np.tile(
            affine.compose(affine.pixels_to_normalised(grid), to_cells), (len(maps), 1, 1)
        )
        answers, places = (torch.from_numpy(one.astype(np.float32)) for one in (maps, crop_to_maps))
        return TeacherView(answers.to(device), places.to(device), self.sigma)
