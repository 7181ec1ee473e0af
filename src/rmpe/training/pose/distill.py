"""Distillation: pseudo-labels and heatmaps of a published pose model for the stored people.

The teacher runs once on every stored person, in the true box, and its predictions are cached next
to the crops. In training they replace missing labels (faces in LSPET, all joints of an unlabelled
person), weighted by the teacher's confidence. Manual labels are never replaced.

The teacher's heatmaps can be cached too and supervise every joint: they contain its uncertainty.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmpe import affine
from rmpe.datasets.packed import PackedCrops
from rmpe.estimate.crops import cut
from rmpe.estimate.pose_model import PoseModel
from rmpe.nets.sstn import Size, stn
from rmpe.runtime import sha256_of
from rmpe.training.teacher_engine import Engine, load_teacher

BATCH = 64


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """A teacher's answers.

    Attributes:
        keypoints: ``(N, K, 2)`` float32, stored pixels; NaN for joints that the teacher does not
            know.
        scores: ``(N, K)`` float32 in [0, 1].
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TeacherHeatmaps:
    """A teacher's heatmaps of all stored people.

    Attributes:
        maps: ``(N, K, h, w)`` uint8, 255 = 1, memory-mapped; empty for joints that the teacher does
            not know.
        stored_to_cells: ``(N, 2, 3)`` float64, stored pixels to cells of the heatmaps.
        sigma: Standard deviation of the Gaussians that the teacher was taught, cells.
    """

    maps: NDArray[np.uint8]
    stored_to_cells: affine.Matrix
    sigma: float


@dataclass(frozen=True, eq=False)
class TeacherView:
    """A teacher's heatmaps of a batch, to be looked at in the frame of the student's crops.

    Attributes:
        maps: ``(B, K, h, w)`` float32 in [0, 1], in the teacher's crops; left and right as in the
            student's crops.
        crop_to_maps: ``(B, 2, 3)`` normalised coordinates, student's crops to ``maps``.
        sigma: Of the teacher's Gaussians, cells of ``maps``.
    """

    maps: Tensor
    crop_to_maps: Tensor
    sigma: float

    def __call__(self, size: Size, sigma: float) -> Tensor:
        """Heatmaps ``(B, K, *size)`` as the student should give them.

        Gaussians narrower than the student's ``sigma`` (cells) are blurred to it at equal height;
        wider ones are left.
        """
        (rows, columns) = self.maps.shape[2:]
        (height, width) = size
        (a, b) = self.crop_to_maps[:, 0, :2].unbind(-1)
        (c, d) = self.crop_to_maps[:, 1, :2].unbind(-1)
        shrunk = (
            (a * d - b * c).abs() * (rows * columns) / (height * width)
        )  # area of a student's cell in the teacher's
        variance = self.sigma**2 / shrunk
        spread = (sigma**2 - variance).clamp(min=1e-6)
        vertical, horizontal = (blur_matrices(side, spread) for side in size)
        height_kept = (sigma**2 / variance).clamp(min=1)[:, None, None, None]
        return vertical @ stn(self.maps, self.crop_to_maps, size) @ horizontal * height_kept


def blur_matrices(side: int, variance: Tensor) -> Tensor:
    """Matrices ``(B, 1, side, side)`` that blur lines of cells by Gaussians of ``variance``."""
    place = torch.arange(side, dtype=variance.dtype, device=variance.device)
    distances = (place[:, None] - place) ** 2
    kernel = (distances / (-2 * variance[:, None, None])).exp()
    norm = kernel[:, side // 2].sum(
        dim=-1
    )  # of a line in the middle: what lies beyond the edge is lost, not squeezed in
    return (kernel / norm[:, None, None])[:, None]


@dataclass(frozen=True)
class Asking:
    """How a teacher is asked about the stored people.

    Attributes:
        teacher: ONNX pose model of any kind that `rmpe predict` takes; joints are matched by name.
        engine: What runs it.
        mirrored: Whether it also looks at the mirrored crops, and the two answers are averaged.
    """

    teacher: Path
    engine: Engine = "onnxruntime"
    mirrored: bool = False

    def file(self, packed: PackedCrops, suffix: str) -> Path:
        """Where its answers are kept."""
        how = f"{self.engine}-" * (self.engine != "onnxruntime") + "mirrored-" * self.mirrored
        return packed.folder / f"teacher-{how}{sha256_of(self.teacher)[:16]}.{suffix}"

    def load(self) -> PoseModel:
        """The teacher."""
        return load_teacher(self.teacher, self.engine, mirrored=self.mirrored)


def pseudo_labels(
    packed: PackedCrops, asking: Asking, progress: Callable[[int, int], None] | None = None
) -> PseudoLabels:
    """The teacher's answers to all stored people, computed once and kept in the cache folder.

    Args:
        packed: The people.
        asking: Whom, and how.
        progress: Called with (done, total) people.

    Raises:
        ModelError: If the model cannot be used.
    """
    file = asking.file(packed, "npz")
    if not file.is_file():
        keypoints, scores = _ask(packed, asking.load(), progress)
        with tempfile.NamedTemporaryFile(
            dir=packed.folder, suffix=".npz", delete=False
        ) as temporary:
            np.savez(temporary, keypoints=keypoints, scores=scores)
        Path(temporary.name).rename(file)
    with np.load(file) as saved:
        return PseudoLabels(saved["keypoints"], saved["scores"])


def teacher_heatmaps(
    packed: PackedCrops,
    asking: Asking,
    sigma: float,
    progress: Callable[[int, int], None] | None = None,
) -> TeacherHeatmaps:
    """The teacher's heatmaps of all stored people, computed once and kept in the cache folder.

    Args:
        packed: The people.
        asking: Whom, and how; a model that answers heatmaps.
        sigma: Of the Gaussians it was taught, cells.
        progress: Called with (done, total) people.

    Raises:
        ModelError: If the model cannot be used.
    """
    model, file = asking.load(), asking.file(packed, "npy")
    if not file.is_file():
        source = model.skeleton.correspondence(packed.people.skeleton)
        with tempfile.NamedTemporaryFile(
            dir=packed.folder, suffix=".npy", delete=False
        ) as temporary:
            pass
        maps = None
        for start, crops, _ in _looks(packed, model, progress):
            heatmaps = model.heatmaps(crops)[:, source]
            heatmaps[:, source < 0] = 0
            if maps is None:
                shape = (len(packed), *heatmaps.shape[1:])
                maps = np.lib.format.open_memmap(
                    temporary.name, mode="w+", dtype=np.uint8, shape=shape
                )
            maps[start : start + len(crops)] = np.rint(255 * heatmaps.clip(0, 1))
        Path(temporary.name).rename(file)
    maps = np.load(file, mmap_mode="r")
    to_cells = affine.crop_to_heatmap(model.size, maps.shape[2:], model.card.alignment)
    return TeacherHeatmaps(maps, affine.compose(to_cells, model.crop_maps(packed.boxes)), sigma)


def _looks(
    packed: PackedCrops, model: PoseModel, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[int, NDArray[np.uint8], affine.Matrix]]:
    """Batches for the teacher: index of the first person, crops, maps from stored crops."""
    stored_to_crop = model.crop_maps(packed.boxes)
    for start in range(0, len(packed), BATCH):
        maps = stored_to_crop[start : start + BATCH]
        images = packed.crops[start : start + BATCH]
        crops = [cut(image, one[None], model.size) for image, one in zip(images, maps, strict=True)]
        yield start, np.concatenate(crops), maps
        if progress:
            progress(start + len(maps), len(packed))


def _ask(
    packed: PackedCrops, model: PoseModel, progress: Callable[[int, int], None] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    source = model.skeleton.correspondence(packed.people.skeleton)
    keypoints = np.full((len(packed), len(source), 2), np.nan, np.float32)
    scores = np.zeros((len(packed), len(source)), np.float32)
    for start, crops, maps in _looks(packed, model, progress):
        some = slice(start, start + len(crops))
        points, answers = model(crops)
        keypoints[some] = affine.apply(affine.invert(maps), points)[:, source]
        scores[some] = answers[:, source]
    keypoints[:, source < 0] = np.nan
    scores[:, source < 0] = 0
    return keypoints, scores
