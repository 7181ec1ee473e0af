"""A data set from one format to another."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, get_args

from rmpe.atomic import atomic
from rmpe.errors import DataError, OutputError
from rmpe.exchange.coco import IMAGES, RESULTS, read_annotations, read_results, write_annotations
from rmpe.exchange.cvat import read_cvat, write_cvat
from rmpe.exchange.label_studio import LOCAL_FILES, read_label_studio, write_label_studio
from rmpe.exchange.labelled import (
    LabelledImage,
    LabelledSet,
    locate,
    size_of_file,
    without_weak,
)
from rmpe.exchange.yolo import read_yolo, write_yolo
from rmpe.files import is_file, read_bytes
from rmpe.media.sources import find_images
from rmpe.skeletons import Skeleton

Format = Literal["coco", "yolo", "cvat", "label-studio"]
FORMATS: tuple[Format, ...] = get_args(Format)
Writer: TypeAlias = Callable[[LabelledSet, Path], list[Path]]
YAML = {".yaml", ".yml"}


@dataclass(frozen=True, kw_only=True)
class ExchangeOptions:
    """How a data set is read and written.

    Attributes:
        skeleton: The joints, where the file does not say or they are the user's own.
        images: Folder of the images.
        copy_images: Copy the images beside the labels.
        min_score: Predicted people with a lower score are left out.
        min_joint_score: Predicted joints with a lower score are not labelled.
        image_url: What Label Studio finds before the name of an image.
    """

    skeleton: Skeleton | None = None
    images: Path | None = None
    copy_images: bool = False
    min_score: float = 0.3
    min_joint_score: float = 0.1
    image_url: str = LOCAL_FILES


def read_data_set(source: Path, options: ExchangeOptions) -> LabelledSet:
    """Read a data set; its format is told by its contents.

    Args:
        source: What ``rmpe predict`` wrote (a folder), a YOLO folder or its ``data.yaml``, CVAT's
            XML or ZIP, Label Studio's JSON, or COCO's; or a folder of photos to label.
        options: Skeleton and folder of the images.

    Raises:
        DataError: If it is none of these, or damaged.
    """
    labelled = _reader(source, options)()
    if options.images is not None:
        labelled = locate(labelled, options.images)
    return without_weak(labelled, options.min_score)


def write_data_set(
    labelled: LabelledSet, kind: Format, out: Path, options: ExchangeOptions
) -> list[Path]:
    """Write a data set.

    Returns:
        The files, the one to name first; the copied images are not among them.

    Raises:
        OutputError: If a file cannot be written.
        DataError: If an image is to be copied and is not there.
    """
    writers: dict[Format, Writer] = {
        "coco": write_annotations,
        "yolo": write_yolo,
        "cvat": write_cvat,
        "label-studio": partial(write_label_studio, image_url=options.image_url),
    }
    if options.copy_images:
        _copy_images(labelled, out)
    return writers[kind](labelled, out)


def _reader(source: Path, options: ExchangeOptions) -> Callable[[], LabelledSet]:
    own = options.skeleton
    if source.is_dir():
        if any(is_file(source / name) for name in (RESULTS, IMAGES)):
            return partial(read_results, source, own, options.min_joint_score)
        files = sorted(file for file in source.iterdir() if file.suffix.lower() in YAML)
        if len(files) == 1:
            return partial(read_yolo, files[0], own)
        return partial(read_photos, source, own)
    if source.suffix.lower() in YAML:
        return partial(read_yolo, source, own)
    start = read_bytes(source)[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<", b"PK\x03\x04")):
        return partial(read_cvat, source, own)
    if start.startswith(b"["):
        return partial(read_label_studio, source, own, options.images)
    return partial(read_annotations, source, own, options.images)


def read_photos(folder: Path, skeleton: Skeleton | None) -> LabelledSet:
    """Photos that nobody has labelled yet.

    Raises:
        DataError: If there is none, or nobody says which joints are to be labelled.
        ImageError: If one cannot be read.
    """
    items = find_images([str(folder)])
    if skeleton is None:
        raise DataError(
            f"{folder}: neither results of `rmpe predict` (coco.json, images.json) nor a YOLO data"
            " set (one .yaml file); to label the photos in it say which joints with --skeleton"
        )
    images = [
        LabelledImage(
            item.file_name, size_of_file(item.path, item.file_name, str(folder)), path=item.path
        )
        for item in items
    ]
    return LabelledSet(skeleton, tuple(images))


def _copy_images(labelled: LabelledSet, out: Path) -> None:
    for image in labelled.images:
        if image.path is None or not is_file(image.path):
            raise DataError(
                f"image {image.name!r} is not there to be copied: name its folder with --images"
            )
        name = PurePosixPath(image.name)
        if ".." in name.parts or name.is_absolute():
            raise OutputError(f"image {image.name!r} lies outside the data set")
        target = out / "images" / name
        if target.exists() and target.samefile(image.path):
            continue
        with image.path.open("rb") as file, atomic(target) as copy:
            shutil.copyfileobj(file, copy)
