"""Distillation: what a published pose model says about the stored people, kept as pseudo-labels.

The teacher looks once at every stored person, in a true box, and its answers are kept beside the crops. In training
they stand in for joints that nobody labelled (faces in LSPET, every joint of an unlabelled person), weighted by the
teacher's own confidence. A label by hand is never overruled.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe import affine
from rmpe.datasets.packed import PackedCrops
from rmpe.estimate.crops import cut
from rmpe.estimate.pose_model import load_pose_model
from rmpe.runtime import sha256_of

BATCH = 64


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """A teacher's answers.

    Attributes:
        keypoints: ``(N, K, 2)`` float32, stored pixels; NaN for joints that the teacher does not know.
        scores: ``(N, K)`` float32 in [0, 1].
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]


def pseudo_labels(
    packed: PackedCrops, teacher: Path, progress: Callable[[int, int], None] | None = None
) -> PseudoLabels:
    """The teacher's answers to all stored people, computed once and kept in the cache folder.

    Args:
        packed: The people.
        teacher: ONNX pose model of any kind that `rmpe predict` takes; joints are matched by name.
        progress: Called with (done, total) people.

    Raises:
        ModelError: If the model cannot be used.
    """
    file = packed.folder / f"teacher-{sha256_of(teacher)[:16]}.npz"
    if not file.is_file():
        keypoints, scores = _ask(packed, teacher, progress)
        with tempfile.NamedTemporaryFile(dir=packed.folder, suffix=".npz", delete=False) as temporary:
            np.savez(temporary, keypoints=keypoints, scores=scores)
        Path(temporary.name).rename(file)
    with np.load(file) as saved:
        return PseudoLabels(saved["keypoints"], saved["scores"])


def _ask(
    packed: PackedCrops, teacher: Path, progress: Callable[[int, int], None] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    model = load_pose_model(teacher, threads=1)
    source = model.skeleton.correspondence(packed.people.skeleton)
    keypoints = np.full((len(packed), len(source), 2), np.nan, np.float32)
    scores = np.zeros((len(packed), len(source)), np.float32)
    stored_to_crop = model.crop_maps(packed.boxes)
    for start in range(0, len(packed), BATCH):
        stop = min(start + BATCH, len(packed))
        maps, images = stored_to_crop[start:stop], packed.crops[start:stop]
        crops = [cut(image, one[None], model.size) for image, one in zip(images, maps, strict=True)]
        points, answers = model(np.concatenate(crops))
        keypoints[start:stop] = affine.apply(affine.invert(maps), points)[:, source]
        scores[start:stop] = answers[:, source]
        if progress:
            progress(stop, len(packed))
    keypoints[:, source < 0], scores[:, source < 0] = np.nan, 0
    return keypoints, scores
