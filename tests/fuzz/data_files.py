"""The doors of JSON, TOML and NumPy files."""

import copy
import io
import json
import os
import random
import re
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rmpe.cards import read_card
from rmpe.config import load_config
from rmpe.skeletons import load_skeleton

from .driver import ROOT, Kind
from .structures import broken, damaged, to_json, to_toml

COCO = load_skeleton("coco17")
SIZE = {"height": 120, "width": 160}
Consume = Callable[[Path, bytes], None]


# Sound files


def _pose(x: float, joints: int, score: float = 2) -> list[float]:
    points = [[x + 3.0 * joint, 10.0 + 5 * joint, score] for joint in range(joints)]
    return [number for point in points for number in point]


def coco(skeleton: str = "coco17", **more: Any) -> dict[str, Any]:
    """A small COCO keypoint file: four people, one crowd, one without joints."""
    joints = load_skeleton(skeleton).joints
    images = [
        {"id": number, "file_name": f"{number}.png", **SIZE, "crowdIndex": 0.1}
        for number in (1, 2, 3)
    ]
    people = [
        {
            "id": number, "image_id": 1 + number % 3, "category_id": 1, "iscrowd": 0,
            "bbox": [5.0 + number, 8, 60, 90], "area": 2000.0, "num_keypoints": len(joints),
            "keypoints": _pose(6.0 + number, len(joints)),
        }
        for number in range(4)
    ]  # fmt: skip
    people[3] |= {"iscrowd": 1, "num_keypoints": 0, "keypoints": [0] * 3 * len(joints)}
    people.append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [90, 10, 50, 80]})
    people.append({"id": 10, "image_id": 1, "category_id": 5, "bbox": [90, 10, 50, 80]})
    categories = [
        {"id": 1, "name": "person", "keypoints": list(joints), "skeleton": [[1, 2]]},
        {"id": 5, "name": "dog"},
    ]
    return {"images": images, "annotations": people, "categories": categories} | more


def results(annotations: dict[str, Any]) -> list[dict[str, Any]]:
    """Detections of everybody in a COCO file."""
    return [
        {
            "image_id": person["image_id"], "category_id": 1, "score": 0.9 - number / 10,
            "keypoints": _pose(7.0 + number, len(person["keypoints"]) // 3, 0.9),
            "bbox": [6.0 + number, 9, 59, 88],
        }
        for number, person in enumerate(annotations["annotations"])
        if "keypoints" in person
    ]  # fmt: skip


def _mpii() -> list[dict[str, Any]]:
    return [
        {
            "image": f"{number}.png", "scale": 1.5, "center": [50.0, 60.0],
            "joints": [[10.0 + joint, 20.0 + 3 * joint] for joint in range(16)],
            "joints_vis": [1] * 15 + [0],
        }
        for number in (1, 2, 2)
    ]  # fmt: skip


def _mpii_results(ids: bool) -> list[dict[str, Any]]:
    return [
        {"image_id": f"{number}.png", "keypoints": _pose(10, 16, 0.8), "score": 0.8}
        if ids
        else {"keypoints": _pose(10, 16, 0.8)}
        for number in (1, 2, 2)
    ]


def _frames(names: Sequence[str]) -> dict[str, Any]:
    people = [
        {
            "track_id": number,
            "head_box": [10, 10, 30, 30],
            "joints": [[5.0 * j, 7.0] for j in range(len(names))],
        }
        for number in range(2)
    ]
    found = [
        {"track_id": 7 + number, "joints": [[5.0 * j, 8.0, 0.9] for j in range(len(names))]}
        for number in range(2)
    ]
    people[1]["joints"][3] = None
    frame = {"image": "1.png", "gt": people, "pred": found}
    sequence = {
        "name": "s", "frames": [frame, copy.deepcopy(frame), {"gt": [], "pred": []}],
        "ignore_regions": [[[0, 0], [9, 0], [9, 9]]],
    }  # fmt: skip
    return {"joint_names": list(names), "sequences": [sequence]}


def _posetrack() -> dict[str, Any]:
    names = [
        "head_bottom" if name == "upper_neck" else name
        for name in load_skeleton("posetrack15").joints
    ]
    names += ["left_ear", "right_ear"]
    images = [
        {
            "id": number, "vid_id": "v", "frame_id": number, "is_labeled": True,
            "file_name": f"{number}.png",
            "ignore_regions_x": [[0, 9, 9]], "ignore_regions_y": [[0, 0, 9]],
        }
        for number in (1, 2, 3)
    ]  # fmt: skip
    people = [
        {
            "id": number, "image_id": number, "track_id": 0, "category_id": 1,
            "bbox": [5, 8, 60, 90],
            "bbox_head": [10, 10, 20, 20], "keypoints": _pose(6, 17, 1), "scores": [],
        }
        for number in (1, 2, 3)
    ]  # fmt: skip
    return {
        "images": images,
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }


def _posetrack_results() -> list[dict[str, Any]]:
    return [
        {"image_id": number, "track_id": 3, "keypoints": _pose(6, 17, 1), "scores": [0.7] * 17}
        for number in (1, 2, 3)
    ]


def _lsp() -> dict[str, Any]:
    names = ["neck" if name == "upper_neck" else name for name in load_skeleton("lsp14").joints]
    rows = [[5.0 + joint, 9.0 + 2 * joint, 1] for joint in range(14)]
    samples = [
        {"file_name": f"{number}.png", **SIZE, "keypoints": copy.deepcopy(rows)}
        for number in (1, 2)
    ]
    return {"keypoint_names": names, "samples": samples}


def _shared(pattern: str) -> list[Any]:
    """Documents from the folder of shared data, where there is one."""
    root = Path(os.environ.get("RMPE_DATA", ROOT.parent / "shared"))
    found = []
    for path in sorted(root.glob(pattern)):
        try:
            found.append(json.loads(path.read_bytes()))
        except (ValueError, RecursionError):
            continue
    return found


# Doors


def _measured(protocol: str, annotations: Path, found: Path | None) -> None:
    from rmpe.evaluation.benchmarks import PROTOCOLS

    measured = PROTOCOLS[protocol](annotations, found)
    json.dumps(measured.figures)
    figure = measured.headline(np.ones(measured.units))
    assert np.isfinite(figure), f"{measured.headline_name} is {figure}"


def _evaluate(protocol: str, other: Any, swapped: bool, folder: Path, data: bytes) -> None:
    mutated = folder / "mutated.json"
    mutated.write_bytes(data)
    fixed = folder / "fixed.json"
    if not fixed.is_file():
        fixed.write_bytes(to_json(other))
    _measured(protocol, fixed if swapped else mutated, mutated if swapped else fixed)


def _alone(protocol: str, suffix: str, folder: Path, data: bytes) -> None:
    path = folder / f"mutated{suffix}"
    path.write_bytes(data)
    _measured(protocol, path, None)


def _photos(folder: Path) -> None:
    for number in (1, 2, 3):
        if not (path := folder / f"{number}.png").is_file():
            cv2.imwrite(str(path), np.full((120, 160, 3), 90 + number, np.uint8))


def _file(folder: Path, data: bytes) -> Path:
    _photos(folder)
    path = folder / "mutated.json"
    path.write_bytes(data)
    return path


def _train(folder: Path, data: bytes) -> None:
    from rmpe.datasets.coco import read_coco

    read_coco(_file(folder, data), folder, COCO).report()


def _train_lsp(folder: Path, data: bytes) -> None:
    from rmpe.datasets.lsp import read_lsp

    read_lsp(_file(folder, data), folder).report()


def _train_photos(folder: Path, data: bytes) -> None:
    from rmpe.training.detector.photos import read_photos

    read_photos(_file(folder, data), folder, True)


def _validate(folder: Path, data: bytes) -> None:
    from rmpe.training.pose.validate import ValidateConfig, Validation

    Validation(ValidateConfig(_file(folder, data), folder), COCO, (64, 48), 1.3)


def _boxes(images: Any, folder: Path, data: bytes) -> None:
    from rmpe.detect.recorded import RecordedBoxes

    path = _file(folder, data)
    names = folder / "images.json"
    if images is not None:
        names.write_bytes(to_json(images))
    recorded = RecordedBoxes(path, names if images is not None else None)
    recorded(np.zeros((120, 160, 3), np.uint8), "1.png")


def _ids(folder: Path, data: bytes) -> None:
    from rmpe.media.sources import find_images, image_ids

    path = _file(folder, data)
    image_ids(find_images([str(folder)]), path)


def _named(protocol: str, folder: Path, data: bytes) -> None:
    from rmpe.evaluation.files.photos import benchmark_images

    benchmark_images(protocol, _file(folder, data), folder)


def _pgpg(other: Any, swapped: bool, folder: Path, data: bytes) -> None:
    from rmpe.learn.detector_errors import match_coco

    path = _file(folder, data)
    fixed = folder / "fixed.json"
    fixed.write_bytes(to_json(other))
    match_coco(fixed if swapped else path, path if swapped else fixed, COCO)


def _nms(other: Any, swapped: bool, folder: Path, data: bytes) -> None:
    from rmpe.evaluation.files.submissions import read_people
    from rmpe.learn.flat_matching import Truths
    from rmpe.learn.nms import Candidates, read_candidates
    from rmpe.suppress import PoseNmsParameters

    path = _file(folder, data)
    fixed = folder / "fixed.json"
    fixed.write_bytes(to_json(other))
    people = read_people(fixed if swapped else path, COCO)
    truths = Truths.from_coco(people.annotations, people.image_ids, COCO)
    candidates = read_candidates(path if swapped else fixed, people, COCO)
    truths.ap(Candidates(candidates, truths).measure(PoseNmsParameters()))


def _journal(folder: Path, data: bytes) -> None:
    from rmpe.write.journal import Journal

    path = folder / "journal.jsonl"
    path.write_bytes(data)
    with Journal(path, {"pose": "x", "min_score": 0.05}, resume=True) as journal:
        journal.remaining({number: f"{number}.png" for number in range(5)})
        list(journal.records(COCO))


def _journal_lines() -> list[Any]:
    from rmpe.poses import Poses

    rng = np.random.default_rng(0)
    lines: list[Any] = [{"rmpe_journal": 1, "settings": {"pose": "x", "min_score": 0.05}}]
    for number in range(3):
        boxes = np.array([[1, 2, 30, 40]] * number, np.float32).reshape(-1, 4)
        poses = Poses(
            rng.uniform(0, 99, (number, 17, 2)), rng.uniform(0, 1, (number, 17)),
            rng.uniform(0, 1, number),
            boxes, COCO,
        )  # fmt: skip
        lines.append({
            "image_id": number, "file_name": f"{number}.png", "name": str(number),
            "path": f"{number}.png",
            "size": [120, 160], "seconds": 0.0, "poses": poses.to_dict(),
        })  # fmt: skip
    return lines


def _tracks(folder: Path, data: bytes) -> None:
    from rmpe.kinematics.cleaning import Cleaning
    from rmpe.kinematics.measure import MeasureOptions, measure
    from rmpe.kinematics.tracks import read_tracks

    path = folder / "tracks.jsonl"
    path.write_bytes(data)
    for track in read_tracks(path):
        measure(track, MeasureOptions(cleaning=Cleaning(filter="median", fill=0), height=1.75))


def _track_lines() -> list[Any]:
    """What `rmpe track` writes of two people in eight frames."""
    from rmpe.poses import Poses

    rng = np.random.default_rng(0)
    lines: list[Any] = [{"rmpe_journal": 1, "settings": {"skeleton": COCO.name}}]
    for number in range(8):
        boxes = np.array([[1, 2, 30, 40]] * 2, np.float32)
        points = rng.uniform(0, 99, (2, 17, 2))
        scores = rng.uniform(0.5, 1, (2, 17))
        poses = Poses(points, scores, [0.9, 0.8], boxes, COCO, [1, 2])
        name = f"walk_{number:06d}"
        lines.append({
            "image_id": number, "file_name": f"{name}.jpg", "name": name, "path": "walk.mp4",
            "size": [120, 160], "seconds": number / 25, "stamp": "", "fps": 25.0,
            "poses": poses.to_dict(),
        })  # fmt: skip
    return lines


def _to_lines(data: Any) -> bytes:
    rows = data if isinstance(data, list) else [data]
    return b"".join(to_json(row) + b"\n" for row in rows)


def _json_kind(
    name: str, seed: Any, consume: Consume, shared: str = "", write: Any = to_json
) -> Kind:
    def seeds() -> list[Any]:
        return [seed, seed, *(_shared(shared) if shared else [])]

    return Kind(name, seeds, partial(broken_by, write), consume)


def broken_by(write: Any, generator: random.Random, document: Any) -> bytes:
    """`broken` with the arguments in the order of `Kind.mutate`."""
    return broken(write, generator, document)


def json_kinds() -> list[Kind]:
    """All doors of JSON."""
    people = coco()
    found = results(people)
    crowded = coco("crowdpose14")
    tracks = _posetrack()
    kinds = []
    for protocol, truth, answers in (
        ("coco", people, found),
        ("boxes", people, found),
        ("crowdpose", crowded, results(crowded)),
        ("mpii", _mpii(), _mpii_results(True)),
        ("pck", _mpii(), _mpii_results(False)),
        ("posetrack", tracks, _posetrack_results()),
    ):
        shared = f"cases/fuzz/json/eval-{protocol}-{{}}_*/{{}}.json"
        for side, document, other in (("ann", truth, answers), ("res", answers, truth)):
            kinds.append(
                _json_kind(
                    f"evaluate-{protocol}-{side}", document,
                    partial(_evaluate, protocol, other, side == "res"), shared.format(side, side),
                )
            )  # fmt: skip
    joints = [f"{side}_{part}" for side in "rl" for part in ("ankle", "knee", "hip")]
    kinds.append(
        _json_kind("evaluate-mpii-frames", _frames(joints), partial(_alone, "mpii", ".json"))
    )
    names = load_skeleton("posetrack15").joints
    kinds.append(
        _json_kind(
            "evaluate-posetrack-frames", _frames(names), partial(_alone, "posetrack", ".json")
        )
    )
    annotations = "cases/*/annotations.json"
    kinds += [
        _json_kind("train", people, _train, annotations),
        _json_kind("train-lsp", _lsp(), _train_lsp),
        _json_kind("train-photos", people, _train_photos, annotations),
        _json_kind("validate", people, _validate),
        _json_kind("boxes-annotations", people, partial(_boxes, None), "cases/boxes*/boxes.json"),
        _json_kind("boxes-results", found, partial(_boxes, people)),
        _json_kind("boxes-results-by-number", found, partial(_boxes, None)),
        _json_kind("ids", people, _ids, annotations),
        _json_kind("names-coco", people, partial(_named, "coco")),
        _json_kind("names-posetrack", tracks, partial(_named, "posetrack")),
        _json_kind("learn-pgpg-ann", people, partial(_pgpg, found, False)),
        _json_kind("learn-pgpg-det", found, partial(_pgpg, people, True)),
        _json_kind("learn-nms-ann", people, partial(_nms, found, False)),
        _json_kind("learn-nms-cand", found, partial(_nms, people, True)),
        _json_kind("journal", _journal_lines(), _journal, "", _to_lines),
        _json_kind("tracks", _track_lines(), _tracks, "", _to_lines),
    ]
    return kinds


# TOML


def _toml_file(folder: Path, data: bytes) -> Path:
    path = folder / "mutated.toml"
    path.write_bytes(data)
    return path


def _card(folder: Path, data: bytes) -> None:
    from rmpe.cards import ModelCard

    card = read_card(_toml_file(folder, data))
    assert ModelCard.from_toml(card.to_toml(), "again") == card


def _skeleton(folder: Path, data: bytes) -> None:
    from rmpe.draw import draw_poses
    from rmpe.poses import Poses

    load_skeleton.cache_clear()
    skeleton = load_skeleton(str(_toml_file(folder, data)))
    joints = len(skeleton)
    poses = Poses(
        np.full((1, joints, 2), 20.0), np.ones((1, joints)), [0.9], [[5, 5, 50, 50]], skeleton
    )
    draw_poses(np.zeros((60, 60, 3), np.uint8), poses)
    assert skeleton.flip_order.shape == (joints,) and np.isfinite(skeleton.sigmas).all()


def _config(kind: str, folder: Path, data: bytes) -> None:
    from rmpe.ablation.plan import AblationConfig
    from rmpe.suppress import PoseNmsParameters
    from rmpe.training.detector.fit import DetectorConfig
    from rmpe.training.pose.fit import TrainConfig

    kinds: dict[str, Any] = {
        "train": TrainConfig, "detector": DetectorConfig, "ablation": AblationConfig,
        "nms": PoseNmsParameters,
    }  # fmt: skip
    config = load_config(kinds[kind], _toml_file(folder, data))
    if kind in ("train", "detector"):
        from rmpe.training.loop import to_json as config_to_json

        config_to_json(config)


def _pgpg_file(folder: Path, data: bytes) -> None:
    from rmpe.propose.pgpg import Pgpg

    pgpg = Pgpg.load(_toml_file(folder, data))
    kinds = pgpg.atoms_of(
        np.full((1, len(pgpg.joints), 2), 5.0), np.ones((1, len(pgpg.joints)), bool)
    )
    pgpg.log_likelihood(np.zeros((1, 4)), kinds)


def _about(folder: Path, data: bytes) -> None:
    from rmpe.export import read_about

    read_about(_toml_file(folder, data))


def _defaults(folder: Path, data: bytes) -> None:
    from rmpe.models import default_model

    os.environ["RMPE_HOME"] = str(folder)
    (folder / "defaults.toml").write_bytes(data)
    default_model("pose")


def _overrides(folder: Path, data: bytes) -> None:
    from rmpe.training.pose.fit import TrainConfig

    path = folder / "base.toml"
    path.write_bytes((ROOT / "configs" / "lite_cpu.toml").read_bytes())
    lines = data.decode("utf-8", "replace").splitlines()[:3]
    # --set takes bare keys; the TOML here quotes them.
    load_config(TrainConfig, path, [re.sub(r'^"([^"]*)"', r"\1", line) for line in lines])


def _tomls(*patterns: str) -> list[Any]:
    return [
        tomllib.loads(path.read_text("utf-8"))
        for pattern in patterns
        for path in sorted(ROOT.glob(pattern))
    ]


def toml_kinds() -> list[Kind]:
    """All doors of TOML."""

    def kind(name: str, consume: Consume, *patterns: str) -> Kind:
        return Kind(name, lambda: _tomls(*patterns), partial(broken_by, to_toml), consume)

    nms = {"sigma1": 0.1, "sigma2": 0.005, "lam": 1.0, "eta": 0.8, "merge": 0.2}
    about = {"name": "x", "license": "y", "source": "z", "notes": "n"}
    choices = {"pose": "pose-lite", "detector": "detector-person", "stn": "stn-lite"}
    overrides = {"steps": 5, "optim.lr": 0.1, "data.size": [64, 48], "seed": 3}

    def plain(name: str, document: Any, consume: Consume) -> Kind:
        return Kind(name, lambda: [document], partial(broken_by, to_toml), consume)

    return [
        kind("card", _card, "src/rmpe/data/cards/*.toml"),
        kind("skeleton", _skeleton, "src/rmpe/data/skeletons/*.toml"),
        kind(
            "train",
            partial(_config, "train"),
            "configs/lite*.toml",
            "configs/hour*.toml",
            "configs/proof*.toml",
        ),
        kind(
            "detector", partial(_config, "detector"), "configs/person*.toml", "configs/ssd512*.toml"
        ),
        kind("ablation", partial(_config, "ablation"), "configs/ablation*.toml"),
        kind("pgpg", _pgpg_file, "configs/pgpg*.toml"),
        plain("nms", nms, partial(_config, "nms")),
        plain("about", about, _about),
        plain("defaults", choices, _defaults),
        plain("overrides", overrides, _overrides),
    ]


# NumPy


def _npz(generator: random.Random, arrays: dict[str, Any]) -> bytes:
    changed = dict(arrays)
    for _ in range(generator.choice((0, 1, 1, 2))):
        name = generator.choice(list(changed) or ["gt"])
        changed[name] = _array(generator, changed.get(name, np.zeros(3)))
        if generator.random() < 0.1:
            del changed[name]
    stream = io.BytesIO()
    np.savez(stream, **changed)
    data = stream.getvalue()
    return damaged(generator, data) if generator.random() < 0.4 else data


def _array(generator: random.Random, array: Any) -> Any:
    value = np.array(array)
    change = generator.randrange(9)
    if change == 0 and value.size and value.dtype.kind in "bif":
        value = value.astype(np.float64)
        value.flat[generator.randrange(value.size)] = generator.choice(
            (np.nan, np.inf, -np.inf, -1, 0, 1e308)
        )
        return value
    if change == 1 and value.dtype.kind in "bif":
        return value.astype(generator.choice((np.int8, np.float16, np.complex64, "U5", object)))
    if change == 2:
        return value.astype(str)
    return (
        value, value, value, np.atleast_1d(value)[:1], value[None], value.ravel(), np.zeros(0),
        np.array(None),
        np.array("x"),
    )[change]  # fmt: skip


def npz_kinds() -> list[Kind]:
    """The door of NumPy's files: PCKh."""
    people = {
        "gt": np.arange(2 * 16 * 2, dtype=float).reshape(2, 16, 2),
        "pred": np.arange(2 * 16 * 2, dtype=float).reshape(2, 16, 2) + 1,
        "head_size": np.array([9.0, 12.0]),
        "annotated": np.ones((2, 16), bool),
    }
    return [Kind("pck", lambda: [people], _npz, partial(_alone, "pck", ".npz"))]
