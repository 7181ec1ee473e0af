"""The images that a benchmark's annotations name, and results for them in its layout."""

from pathlib import Path
from typing import Any

from rmpe.annotations.categories import PERSON
from rmpe.annotations.coco import parse_images, person_of, require_names
from rmpe.annotations.image_names import ImageFolder
from rmpe.errors import DataError, ImageError
from rmpe.evaluation.files.crowdpose_joints import to_crowdpose
from rmpe.evaluation.files.mpii import read_mpii_people
from rmpe.files import read_json
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton

# Joints of the benchmarks.
SKELETONS = {
    "coco": "coco17",
    "wholebody": "wholebody133",
    "crowdpose": "crowdpose14",
    "mpii": "mpii16",
    "posetrack": "posetrack15",
    "pck": "mpii16",
}


def benchmark_images(protocol: str, annotations: Path, folder: Path) -> dict[Path, Any]:
    """Image files that an annotation file names, with what its results call them.

    Args:
        protocol: Name of the benchmark.
        annotations: Its file.
        folder: Where its images lie, perhaps in folders of their own.

    Raises:
        DataError: If the file cannot be read or names no images.
        ImageError: If an image is not there.
    """
    source = str(annotations)
    there = ImageFolder(folder)
    if protocol == "mpii":
        people = read_mpii_people(annotations)
        named: list[tuple[str, Any]] = [(person.image, person.image) for person in people]
        named = list(dict.fromkeys(named))
    else:
        images = parse_images(read_json(annotations), source)
        require_names(images, source)
        named = [(image.file_name, image.id) for image in images]
    if not named:
        raise DataError(f"{source}: names no image")
    found: dict[Path, Any] = {}
    for name, image in named:
        path = existing_image(there, name)
        if path in found:
            raise DataError(f"{source}: images {found[path]} and {image} are both {path}")
        found[path] = image
    return found


def existing_image(folder: ImageFolder, name: str) -> Path:
    """The file that an image's name means: benchmarks put theirs in folders.

    Raises:
        ImageError: If there is none.
    """
    path = folder.find(name)
    if path is None:
        raise ImageError(f"{folder.folder}: image {name} of the annotations is not there")
    return path


def to_results(
    poses: Poses, skeleton: Skeleton, image: Any, category: int = PERSON
) -> list[dict[str, Any]]:
    """A benchmark's result entries for the people of one image, with its joints and category."""
    crowdpose = skeleton.name == SKELETONS["crowdpose"]
    moved = to_crowdpose(poses, skeleton) if crowdpose else poses.to_skeleton(skeleton)
    people = moved.to_coco(0, category)
    return [person | {"image_id": image} for person in people]


def person_id(protocol: str, annotations: Path) -> int:
    """The number that a benchmark's annotations have for people.

    Raises:
        DataError: If it cannot be told.
    """
    if protocol not in ("coco", "boxes", "crowdpose"):
        return PERSON
    person, _ = person_of(read_json(annotations), str(annotations))
    return PERSON if person is None else person.id
