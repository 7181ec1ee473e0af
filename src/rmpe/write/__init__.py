"""Results to files: a journal that grows with every batch, and the final files made from it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from rmpe.errors import OutputError, UsageError
from rmpe.skeletons import Skeleton
from rmpe.write import (
    alphapose,
    coco,
    coco_dataset,
    coco_wholebody,
    mot,
    openpose,
    posetrack,
    table,
    trc,
)
from rmpe.write.journal import JournalRecord

Writer: TypeAlias = Callable[[Iterable[JournalRecord], Skeleton, Path], Path]

# What `--format` may be; each writes its files from the journal's records.
FORMATS: dict[str, Writer] = {
    "coco": coco.write,
    "coco-dataset": coco_dataset.write,
    "coco-wholebody": coco_wholebody.write,
    "alphapose": alphapose.write,
    "openpose": openpose.write,
    "csv": table.write,
}
VIDEO_FORMATS = FORMATS | {"posetrack": posetrack.write, "mot": mot.write, "trc": trc.write}
# The file or the folder of each.
PLACES = {
    "coco": coco.FILE,
    "coco-dataset": coco_dataset.FILE,
    "coco-wholebody": coco_wholebody.FILE,
    "alphapose": alphapose.FILE,
    "openpose": openpose.FOLDER,
    "csv": table.FILE,
    "posetrack": posetrack.FILE,
    "mot": mot.FILE,
    "trc": trc.FOLDER,
}
# Those that hold nothing but people with ids.
NEED_IDS = frozenset({"mot", "trc"})


def require_ids(formats: Iterable[str]) -> None:
    """That no format needs what a run without a tracker has not.

    Raises:
        UsageError: If one of them holds people with ids only.
    """
    if needy := NEED_IDS & {*formats}:
        raise UsageError(
            f"--format {min(needy)} is of people with ids, which --tracker none does not give"
        )


def with_those_in(folder: Path, writers: Mapping[str, Writer], names: Sequence[str]) -> list[str]:
    """The formats, and those of which an earlier run left files: they grow with it, too."""
    there = (name for name in writers if (folder / PLACES[name]).exists())
    return list(dict.fromkeys([*names, *there]))


def write_formats(
    writers: Mapping[str, Writer],
    names: Sequence[str],
    records: Callable[[], Iterable[JournalRecord]],
    skeleton: Skeleton,
    out_dir: Path,
) -> tuple[list[str], list[str]]:
    """Write the result files; a format that cannot be written does not stop the others.

    Args:
        writers: All there are, e.g. `FORMATS`.
        names: Those wanted; ``images.json`` is written in any case.
        records: Gives all records anew each time it is called.
        skeleton: That of the poses.
        out_dir: Folder, made if need be.

    Returns:
        The files, and a line for each that failed.
    """
    files: list[str] = []
    failures: list[str] = []
    for write in [*(writers[name] for name in names), _write_images]:
        try:
            files.append(str(write(records(), skeleton, out_dir)))
        except OutputError as error:
            failures.append(str(error))
    return files, failures


def _write_images(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:  # noqa: ARG001
    return coco.write_images(records, out_dir)
