"""The images that a benchmark's annotations name, and results for them in its layout."""

from pathlib import Path
from typing import Any

from rmpe.errors import DataError, ImageError
from rmpe.evaluation.files.mpii import read_mpii_people
from rmpe.files import read_json
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton

# Joints of the benchmarks.
SKELETONS = {
    "coco": "coco17",
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
    if protocol == "mpii":
        names = dict.fromkeys(person.image for person in read_mpii_people(annotations))
        return {existing_image(folder, name): name for name in names}
    data = read_json(annotations)
    if not (
        isinstance(data, dict) and all("file_name" in image for image in data.get("images", [{}]))
    ):
        raise DataError(f"{annotations}: --images needs 'images' with a 'file_name' each")
    return {existing_image(folder, image["file_name"]): image["id"] for image in data["images"]}


def existing_image(folder: Path, name: str) -> Path:
    """The file in the folder, by the longest ending of its path that is there: benchmarks put
    theirs in folders.

    Raises:
        ImageError: If there is none.
    """
    parts = Path(name).parts
    for start in range(len(parts)):
        if (path := folder.joinpath(*parts[start:])).is_file():
            return path
    raise ImageError(f"{folder}: image {name} of the annotations is not there")


def to_results(poses: Poses, skeleton: Skeleton, image: Any) -> list[dict[str, Any]]:
    """A benchmark's result entries for the people of one image, with its own joints."""
    return [person | {"image_id": image} for person in poses.to_skeleton(skeleton).to_coco(0)]
