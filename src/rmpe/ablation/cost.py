"""Time per module of a row."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from rmpe.ablation.measure import Bench, Known
from rmpe.ablation.plan import Setting
from rmpe.boxes import box_nms, size_of
from rmpe.estimate.crops import cut
from rmpe.media.images import read_image
from rmpe.propose.regions import propose


def module_costs(bench: Bench, setting: Setting, photos: int) -> dict[str, float]:
    """Median milliseconds of each module of a row over its first photos, one photo at a time.

    Args:
        bench: The ablation's bench.
        setting: The row.
        photos: Number of photos.

    Returns:
        Milliseconds by module; the name says whether they are per image or per person.
    """
    estimator = bench.estimator(setting, Known({}))
    clock = _Clock()
    pose = estimator.pose
    stn = estimator.stn
    detector = None if setting.boxes == "true" else bench.detector(bench.detector_file(setting))
    suppress = bench.suppressor(setting)
    _, known = bench.boxes(setting)
    for name in list(bench.images)[:photos]:
        image = read_image(Path(name))
        found = known[name]
        if detector is not None:
            with clock("detector, an image"):
                detected = detector(image, name)
            with clock("box NMS, an image"):
                found = detected[box_nms(detected, setting.box_nms)]
        people = propose(found, size_of(image), estimator.limit)
        if not len(people):
            continue
        if stn:
            with clock("STN with its crops, a person", len(people)):
                maps = stn.looks([image], [people], pose).image_to_crop[0]
        else:
            maps = pose.crop_maps(people.xyxy)
        with clock("crops, a person", len(people)):
            crops = cut(image, maps, pose.size)
        with clock("SPPE, a person", len(people)):
            pose(crops)
        poses = estimator.estimate(image, found)
        with clock("pose NMS, an image"):
            suppress(poses)
    return {name: median(values) for name, values in clock.spent.items()}


class _Clock:
    """Milliseconds by name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, name: str, shares: int = 1) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.spent[name].append(1000 * (time.perf_counter() - start) / shares)
