"""Leeds Sports Pose and its extension: cropped photos of single people, 14 joints, no boxes."""

from pathlib import Path

from rmpe import fields
from rmpe.annotations.image_names import ImageFolder
from rmpe.boxes import Boxes
from rmpe.datasets.packed import image_size
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
    given = fields.texts(data["keypoint_names"], f"{annotations}: 'keypoint_names'")
    order = _order(tuple(OTHER_NAMES.get(name, name) for name in given), skeleton, annotations)
    reader = PersonReader(skeleton)
    folder = ImageFolder(images)
    for number, entry in enumerate(fields.items(data["samples"], f"{annotations}: 'samples'")):
        place = f"{annotations}: sample {number}"
        sample = fields.table(entry, place)
        name = fields.name(sample.get("file_name"), f"{place}: 'file_name'")
        path = folder.find(name)
        height, width = (
            None if sample.get(key) is None else fields.whole(sample[key], f"{place}: {key!r}")
            for key in ("height", "width")
        )
        if path is None:
            reader.add_image(images / name, (0, 0))
            continue
        known = None if height is None or width is None else (height, width)
        reader.add_image(path, known or image_size(path))
        points = fields.triples(sample.get("keypoints"), f"{place}: 'keypoints'")
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
            f"{source}: its joints {list(names)} are not those of {skeleton}:"
            f" {list(skeleton.joints)}"
        )
    return [names.index(joint) for joint in skeleton.joints]
