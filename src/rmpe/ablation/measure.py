"""Measurement of the rows of an ablation.

Boxes and poses before pose NMS are cached on disk under a hash of everything they depend on. Rows
share cached results, an interrupted ablation continues where it stopped, and another pose NMS needs
no new pose estimation.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe import __version__
from rmpe.ablation.plan import AblationConfig, Setting
from rmpe.ablation.runs import Log, Nets, Runs
from rmpe.associate import associator
from rmpe.atomic import atomic
from rmpe.boxes import Boxes, box_nms, size_of
from rmpe.config import from_mapping
from rmpe.detect import DecodedDetector, Detector, RecordedBoxes, Yolox, load_detector
from rmpe.errors import DataError, ImageError, UsageError
from rmpe.estimate.pose_model import load_pose_model
from rmpe.estimate.stn import load_stn
from rmpe.evaluation.benchmarks import Measured, measure_of
from rmpe.evaluation.files import mpii
from rmpe.evaluation.files.photos import SKELETONS, benchmark_images, person_id, to_results
from rmpe.evaluation.files.skeletons import benchmark_skeleton
from rmpe.evaluation.files.submissions import read_people
from rmpe.media.images import read_image
from rmpe.models import resolve_model
from rmpe.pipeline import Estimator
from rmpe.poses import Poses
from rmpe.runtime import sha256_of
from rmpe.skeletons import load_skeleton
from rmpe.streaming import stream
from rmpe.suppress import PoseNmsParameters, Suppressor, parametric_nms, suppressor
from rmpe.write.journal import Journal, JournalRecord

# Seconds between lines of progress.
LOG_EVERY = 20.0


class Known:
    """A `Detector` that returns precomputed boxes by the name of the image."""

    def __init__(self, boxes: dict[str, Boxes]) -> None:
        self.boxes = boxes

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:  # noqa: ARG002
        """The boxes of the image ``name``."""
        return self.boxes[name]


class Bench:
    """Measures the rows of an ablation.

    Args:
        config: The ablation.
        log: Receives lines of progress.

    Raises:
        RmpeError: If the data cannot be read.
    """

    def __init__(self, config: AblationConfig, log: Log) -> None:
        self.config = config
        self.log = log
        self.runs = Runs(config, log)
        data = config.data
        named = load_skeleton(data.skeleton) if data.skeleton else None
        self.skeleton = named or load_skeleton(SKELETONS[data.protocol])
        if data.protocol == "coco":
            source = str(data.annotations)
            self.skeleton, _ = benchmark_skeleton(read_people(data.annotations), source, named)
        own = self.skeleton if data.protocol == "coco" else None
        self._measure = measure_of(data.protocol, own)
        self._person = person_id(data.protocol, data.annotations)
        self.images = {
            path.as_posix(): image
            for path, image in benchmark_images(
                data.protocol, data.annotations, data.images
            ).items()
        }
        self.cores = config.threads or os.cpu_count() or 1
        self._raw: tuple[str, list[Poses]] = ("", [])

    def check(self, setting: Setting) -> None:
        """Check, as far as possible in advance, that a row can be measured.

        Raises:
            RmpeError: If it cannot.
        """
        self.runs.check(setting)
        if setting.boxes != "true":
            self.detector_file(setting)
        if setting.nms.endswith(".toml"):
            suppressor(setting.nms)
        trained = setting.pose in self.runs.by_name or setting.pose.endswith(".safetensors")
        if setting.associate != "none" and not trained:  # nets that are trained answer heatmaps
            load_pose_model(resolve_model(setting.pose, "pose"), self.config.device, several=True)

    def measure(self, setting: Setting) -> Measured:
        """Measure one row.

        Raises:
            RmpeError: If a model or an image cannot be used.
        """
        return self._measure(self.config.data.annotations, self._results(setting))

    def boxes(self, setting: Setting) -> tuple[str, dict[str, Boxes]]:
        """The cache key and the proposals of every image, before they are grown."""
        if setting.boxes == "true":
            return self._data_key("true boxes"), true_boxes(self.config, list(self.images.items()))
        file = self.detector_file(setting)
        key, found = self._found(file)
        thinned = {name: boxes[box_nms(boxes, setting.box_nms)] for name, boxes in found.items()}
        return _key(key, setting.box_nms), thinned

    def raw(self, setting: Setting) -> tuple[str, list[Poses]]:
        """The cache key and the poses before pose NMS, one entry per image."""
        nets = self.runs.nets(setting)
        boxes_key, boxes = self.boxes(setting)
        associate = [] if setting.associate == "none" else [setting.associate]
        key = _key(
            "poses",
            __version__,
            boxes_key,
            nets.identity,
            setting.growth,
            self.config.limit,
            *associate,
        )
        if self._raw[0] != key:  # rows that share poses are usually consecutive
            self._raw = (key, self._estimated(setting, nets, boxes, key))
        return self._raw

    def suppressor(self, setting: Setting) -> Suppressor:
        """The pose NMS of a row."""
        if setting.nms == "parametric" and setting.nms_parameters:
            parameters = from_mapping(PoseNmsParameters, setting.nms_parameters, setting.title)
            return partial(parametric_nms, parameters=parameters)
        return suppressor(setting.nms)

    def estimator(self, setting: Setting, detector: Detector) -> Estimator:
        """The row's pipeline without pose NMS."""
        return self._estimator(setting, self.runs.nets(setting), detector)

    def detector(self, file: Path) -> Detector:
        """A detector without its own box NMS and vote, with the ablation's score threshold."""
        if file.suffix == ".json":
            coco = self.config.data.protocol != "mpii"
            return RecordedBoxes(file, self.config.data.annotations if coco else None)
        detector = load_detector(file, self.config.device, self.cores)
        if isinstance(detector, Yolox | DecodedDetector):
            detector.card = replace(
                detector.card, score_threshold=self.config.score, nms=1.0, voters=0
            )
        return detector

    def detector_file(self, setting: Setting) -> Path:
        """The ONNX or JSON file with a row's detector or precomputed boxes.

        Raises:
            RmpeError: If no file is named or it does not exist.
        """
        named = {"detector": self.config.detector, "another": self.config.another}.get(
            setting.boxes, setting.boxes
        )
        if named is None:
            raise UsageError(
                f"row {setting.title!r} uses another detector: name it with another = FILE"
            )
        if named.endswith(".json"):
            if not Path(named).is_file():
                raise DataError(f"{named}: no such file of precomputed boxes")
            return Path(named)
        return resolve_model(named, "detector")

    def _found(self, file: Path) -> tuple[str, dict[str, Boxes]]:
        """All boxes of a detector with at least the configured score, before NMS."""
        key = _key(
            "boxes", __version__, self._data_key("found"), sha256_of(file), self.config.score
        )
        path = self.config.out / "boxes" / f"{key}.jsonl"
        found = dict(_read_boxes(path))
        if todo := [name for name in self.images if name not in found]:
            self.log(f"detecting with {file.name}: {len(todo)} of {len(self.images)} images")
            detector = self.detector(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as kept:
                kept.write("\n" * bool(found))  # ends a line that an interruption left incomplete
                for name in self._progress(todo, "detecting"):
                    boxes = detector(read_image(Path(name)), name)
                    boxes = boxes[boxes.scores >= self.config.score]
                    found[name] = boxes
                    kept.write(
                        json.dumps([name, boxes.xyxy.tolist(), boxes.scores.tolist()]) + "\n"
                    )
                    kept.flush()
        return key, found

    def _estimated(
        self, setting: Setting, nets: Nets, boxes: dict[str, Boxes], key: str
    ) -> list[Poses]:
        names = dict(enumerate(self.images))
        with Journal(
            self.config.out / "poses" / f"{key}.jsonl", {"poses": key}, resume=True
        ) as journal:
            if todo := journal.remaining(names):
                numbers = {names[number]: number for number in todo}
                count = sum(len(boxes[name]) for name in numbers)
                self.log(
                    f"estimating {setting.title!r}: {count} proposals in {len(todo)}"
                    f" of {len(names)} images"
                )
                estimator = self._estimator(setting, nets, Known(boxes))
                results = stream(estimator, (Path(name) for name in numbers))
                for result, name in zip(
                    results, self._progress(list(numbers), "estimating"), strict=True
                ):
                    if result.poses is None or result.image is None:
                        raise ImageError(result.error)
                    size = size_of(result.image)
                    journal.append(
                        [JournalRecord(numbers[name], name, name, name, size, result.poses)]
                    )
            skeleton = load_skeleton(load_pose_model(nets.pose, self.config.device).card.skeleton)
            return [record.poses for record in journal.records(skeleton)]

    def _estimator(self, setting: Setting, nets: Nets, detector: Detector) -> Estimator:
        several = setting.associate != "none"
        pose = load_pose_model(
            nets.pose, self.config.device, 1, batch=self.config.batch, several=several
        )
        if setting.growth is not None:
            if nets.stn:
                raise UsageError(
                    f"row {setting.title!r}: growth needs stn = 'none',"
                    " because an STN is trained for one growth"
                )
            pose.card = replace(pose.card, growth=setting.growth)
        stn = load_stn(nets.stn, self.config.device, 1) if nets.stn else None
        return Estimator(
            detector,
            pose,
            stn,
            suppressor("none"),
            associate=associator(setting.associate),
            limit=self.config.limit,
            workers=self.cores,
        )

    def _results(self, setting: Setting) -> Path:
        """The file of a row's results in the benchmark's layout."""
        key, raw = self.raw(setting)
        learned = (
            sha256_of(Path(setting.nms))
            if setting.nms.endswith(".toml")
            else setting.nms_parameters
        )
        joints = [] if self.config.data.skeleton is None else [self.skeleton.joints]
        name = _key("results", key, setting.nms, learned, *joints)
        path = self.config.out / "results" / f"{name}.json"
        if not path.is_file():
            suppress = self.suppressor(setting)
            found = zip(raw, self.images.values(), strict=True)
            results = [
                one
                for poses, image in found
                for one in to_results(suppress(poses), self.skeleton, image, self._person)
            ]
            with atomic(path) as file:
                file.write(json.dumps(results).encode())
        return path

    def _data_key(self, what: str) -> str:
        data = self.config.data
        return _key(what, data.protocol, sha256_of(data.annotations), data.images.as_posix())

    def _progress(self, names: list[str], what: str) -> Iterator[str]:
        """Yield the names and log progress and remaining time at intervals."""
        start = said = time.monotonic()
        for done, name in enumerate(names):
            now = time.monotonic()
            if done and now - said > LOG_EVERY:
                left = (now - start) / done * (len(names) - done)
                self.log(f"  {what}: {done} of {len(names)} images, {left / 60:.1f} min left")
                said = now
            yield name


def true_boxes(config: AblationConfig, images: list[tuple[str, Any]]) -> dict[str, Boxes]:
    """Annotated boxes of the people with labelled joints, by image.

    MPII has no boxes; there it is `rmpe.evaluation.files.mpii.MpiiPerson.box`.
    """
    rows: dict[Any, list[list[float]]] = {image: [] for _, image in images}
    if config.data.protocol == "mpii":
        for person in mpii.read_mpii_people(config.data.annotations):
            if (box := person.box) is not None:
                rows[person.image].append(box.xyxy[0].tolist())
    else:
        for record in read_people(config.data.annotations).annotations:
            if not record["iscrowd"] and record.get("num_keypoints", 0):
                x, y, width, height = record["bbox"]
                rows[record["image_id"]].append([x, y, x + width, y + height])
    return {name: Boxes(rows[image]) for name, image in images}


def _read_boxes(path: Path) -> Iterator[tuple[str, Boxes]]:
    """Cached boxes; an incomplete line is skipped, so its image is detected again."""
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            if line.endswith("]]") or line.endswith("[]]"):
                name, xyxy, scores = json.loads(line)
                yield name, Boxes(xyxy, scores)


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]
