"""Data sets from a configuration: read, join, filter and pack them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rmpe.datasets.coco import read_coco
from rmpe.datasets.lsp import read_lsp
from rmpe.datasets.mpii import read_mpii
from rmpe.datasets.packed import CropSpec, PackedCrops, pack
from rmpe.datasets.persons import ABSENT, PersonSet, union
from rmpe.datasets.unlisted import add_unlisted, find_people
from rmpe.files import read_names
from rmpe.skeletons import load_skeleton

# Pixels of a side of a crop, and how many times a box it may be.
LARGEST_CROP = 4096
MOST_ROOM = 10.0


@dataclass(frozen=True)
class SetConfig:
    """One data set.

    Attributes:
        annotations: The annotation file.
        images: The folder of its images.
        format: ``coco`` (COCO, CrowdPose, custom data), ``mpii`` or ``lsp``.
        skeleton: The skeleton of a COCO file: a name or the path of a TOML file.
        complete: Whether all people in its images are annotated; if not, the labeller finds the
            others.
    """

    annotations: Path
    images: Path
    format: Literal["coco", "mpii", "lsp"] = "coco"
    skeleton: str = "coco17"
    complete: bool = True


@dataclass(frozen=True)
class DataConfig:
    """The people to train on.

    Attributes:
        sets: The data sets; they are joined, with masked joints where they differ.
        skeleton: The joints to learn.
        exclude: Text file with names of images to leave out, one per line; ``#`` starts a comment.
        cache: Folder for packed crops.
        size: (height, width) of the training crop, which determines the stored resolution.
        growth: Factor by which a box grows before it is cropped.
        margin: Margin of the stored crops, see `CropSpec`.
        teacher: ONNX pose model whose predictions are the pseudo-labels of unlabelled joints.
        teacher_score: Smallest score of a pseudo-label.
        teacher_sigma: Standard deviation of the teacher's target Gaussians, in cells of its
            heatmaps; for ``distill``.
        teacher_engine: What runs it: ``onnxruntime``, or ``openvino``, which uses bfloat16 on CPUs
            that have it.
        teacher_mirrored: Whether the teacher also sees the mirrored crop; both answers are
            averaged.
        smallest_unlabelled: With a teacher, include people without any label whose box has a side
            of at least this many pixels; 0 includes labelled people only.
        labeller: ONNX detector that finds unlisted people, see `rmpe.datasets.unlisted`; these have
            no labelled joints.
    """

    sets: tuple[SetConfig, ...]
    skeleton: str = "coco17"
    exclude: Path | None = None
    cache: Path = Path("runs/cache")
    size: tuple[int, int] = (256, 192)
    growth: float = 1.3
    margin: float = 1.5
    teacher: Path | None = None
    teacher_score: float = 0.4
    teacher_sigma: float = 2.0
    teacher_engine: Literal["onnxruntime", "openvino"] = "onnxruntime"
    teacher_mirrored: bool = False
    smallest_unlabelled: float = 0.0
    labeller: Path | None = None

    def __post_init__(self) -> None:
        if not all(16 <= side <= LARGEST_CROP for side in self.size):
            raise ValueError(f"size = {list(self.size)}: sides must be 16 to {LARGEST_CROP} pixels")
        if not self.growth > 0 or not self.margin >= 1 or not self.teacher_sigma > 0:
            raise ValueError(
                f"growth = {self.growth} and teacher_sigma = {self.teacher_sigma} must be above 0,"
                f" margin = {self.margin} at least 1"
            )
        if max(self.growth, self.margin) > MOST_ROOM:
            raise ValueError(
                f"growth = {self.growth} and margin = {self.margin} must be at most {MOST_ROOM}"
            )
        if not self.sets:
            raise ValueError("sets: name at least one data set")
        if self.smallest_unlabelled and self.teacher is None:
            raise ValueError(
                "smallest_unlabelled needs a teacher, which predicts the joints of these people"
            )
        if not all(one.complete for one in self.sets) and not (
            self.labeller and self.smallest_unlabelled
        ):
            raise ValueError(
                "a set with complete = false needs a labeller, which finds the other people,"
                " and smallest_unlabelled"
            )


def read_set(config: SetConfig) -> PersonSet:
    """Read one data set.

    Raises:
        DataError: If its file cannot be read.
    """
    if config.format == "coco":
        return read_coco(config.annotations, config.images, load_skeleton(config.skeleton))
    reader = {"mpii": read_mpii, "lsp": read_lsp}[config.format]
    return reader(config.annotations, config.images)


def open_data(config: DataConfig, log: Callable[[str], None]) -> PackedCrops:
    """Read all sets, log their problems, and pack the people that are useful for training.

    Raises:
        DataError: If a file cannot be read or no people are left.
    """

    def looking(done: int, total: int) -> None:
        log(f"labeller: image {done} of {total}")

    sets = []
    for one in config.sets:
        people = read_set(one)
        log(f"{one.annotations}: {people.report()}")
        if not one.complete and config.labeller is not None:
            listed = len(people)
            found = find_people(people.images, config.labeller, config.cache, looking)
            people = add_unlisted(people, found)
            log(f"{config.labeller}: {len(people) - listed} unlisted people added")
        sets.append(people)
    people = union(sets, load_skeleton(config.skeleton))
    if config.exclude is not None:
        before = len(people)
        people = people.without_images(read_names(config.exclude))
        log(f"{config.exclude}: {before - len(people)} people left out")
    useful = (people.visibility > ABSENT).any(axis=1)
    if config.smallest_unlabelled:
        sides = people.boxes[:, 2:] - people.boxes[:, :2]
        useful |= (sides >= config.smallest_unlabelled).any(axis=1)
    people = people[np.flatnonzero(useful)]
    spec = CropSpec(config.size, config.growth, config.margin)
    packed = pack(
        people, spec, config.cache, lambda done, total: log(f"packing: image {done} of {total}")
    )
    log(f"{len(packed)} people packed in {packed.folder}")
    return packed
