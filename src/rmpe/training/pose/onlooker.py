"""A teacher that looks at every view that the student is shown, cut, turned and covered as it is.

Source: a patient and consistent teacher: Beyer et al., "Knowledge distillation: A good teacher is
patient and consistent", CVPR 2022.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rmpe import affine
from rmpe.estimate.pose_model import PoseModel
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.skeletons import Skeleton
from rmpe.training.pose.distill import TeacherView
from rmpe.training.pose.teacher_engine import Engine, load_teacher


class Onlooker:
    """A teacher for the crops of a batch.

    Args:
        teacher: ONNX pose model that answers heatmaps; joints are matched by name.
        skeleton: The student's joints.
        sigma: Standard deviation of the Gaussians that the teacher was taught, cells.
        engine: What runs it.
        mirrored: Whether it also looks at the mirrored crops, and the two answers are averaged.
    """

    def __init__(
        self,
        teacher: Path,
        skeleton: Skeleton,
        sigma: float,
        engine: Engine = "onnxruntime",
        mirrored: bool = False,
    ) -> None:
        self.teacher, self.skeleton, self.sigma = teacher, skeleton, sigma
        self.engine: Engine = engine
        self.mirrored = mirrored
        self._model: PoseModel | None = None

    def __call__(self, images: Tensor) -> TeacherView:
        """Look at normalised crops ``(B, 3, H, W)``, resized to the teacher's size if need be.

        Raises:
            ModelError: If the model or the engine cannot be used.
        """
        # Loaded here because an engine does not survive the fork of a process that makes batches.
        if self._model is None:
            self._model = load_teacher(self.teacher, self.engine, mirrored=self.mirrored)
        model = self._model
        if images.shape[2:] != model.size:
            images = F.interpolate(
                images, model.size, mode="bilinear", align_corners=False, antialias=True
            )
        pixels = (images * PIXEL_SD + PIXEL_MEAN).round().clamp(0, 255).to(torch.uint8)
        heatmaps = model.heatmaps(pixels.permute(0, 2, 3, 1).cpu().numpy())
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
        return TeacherView(answers.to(images.device), places.to(images.device), self.sigma)
