"""Leeds Sports Pose and its extension: cropped photos of single people, 14 joints, no boxes."""

from pathlib import Path

import numpy as np

from rmpe.boxes import Boxes
from rmpe.datasets.persons import PersonReader, PersonSet
from rmpe.errors import DataError
from rmpe.files import read_json
from rmpe.skeletons import Skeleton, load_skeleton

# The set has no boxes, and the extent of the joints is smaller than the body. For COCO people with
# at least 15 joints (which do not include the head top), the true box is 1.28 times as wide and
# 1.21 times as high (median).
EXTENT_TO_BOX = 1.2
# Alternative names of ``lsp14`` joints in files of this set.
OTHER_NAMES = {"neck": "upper_neck"}


def read_lsp(annotations: Path, images: Path) -> PersonSet:
    """Read LSP / LSPET people (``lsp14``) from JSON.

    Args:
        annotations: JSON with ``keypoint_names`` and ``samples`` (file_name, width, height,
            keypoints as (14, 3) lists x, y, labelled).
        images: Folder with the image files.

    Raises:
        DataError: If the file has another layout.
    """
    data = read_json(annotations)
    if not isinstance(data, dict) or not {"keypoint_names", "samples"} <= set(data):
        raise DataError(f"{annotations}: not LSP JSON: no 'keypoint_names' or no 'samples'")
    skeleton = load_skeleton("lsp14")
    names = tuple(OTHER_NAMES.get(name, name) for name in data["keypoint_names"])
    order = _order(names, skeleton, annotations)
    reader = PersonReader(skeleton)
    for number, sample in enumerate(data["samples"]):
        path = images / sample["file_name"]
        size = (sample["height"], sample["width"])
        if not reader.add_image(path, size):
            continue
        points = np.asarray(sample["keypoints"], np.float32)
        if points.shape != (len(skeleton), 3):
            reader.problem(
                f"not {len(skeleton)} joints of 3 numbers", f"sample {number}: {points.shape}"
            )
            continue
        labelled = points[points[:, 2] > 0, :2]
        if len(labelled) < 2:
            reader.problem("fewer than two labelled joints", f"sample {number}")
            continue
        extent = Boxes([[*labelled.min(axis=0), *labelled.max(axis=0)]])
        reader.add_person(path, extent.grow(EXTENT_TO_BOX).xyxy[0].tolist(), points[order], number)
    return reader.finish()


def _order(names: tuple[str, ...], skeleton: Skeleton, source: Path) -> list[int]:
    if sorted(names) != sorted(skeleton.joints):
        raise DataError(
            f"{source}: the joints {list(names)} are not those of {skeleton}:"
            f" {list(skeleton.joints)}"
        )
    return [names.index(joint) for joint in skeleton.joints]
