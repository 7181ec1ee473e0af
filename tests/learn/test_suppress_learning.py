"""Learning pose NMS parameters: matching compared with pycocotools, the search, the command."""

import contextlib
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner

from rmpe.cli.learn_nms import learn_nms as command
from rmpe.config import load_config
from rmpe.errors import DataError
from rmpe.evaluation.benchmarks import PROTOCOLS
from rmpe.evaluation.files.submissions import check_people, read_people
from rmpe.learn import nms
from rmpe.learn.flat_matching import Truths, match_poses
from rmpe.learn.mpii_matching import MpiiTruths
from rmpe.learn.nms import PLANES, Candidates, climb, learn_nms, read_candidates, smoothed
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.suppress import PoseNmsParameters, parametric_nms
from rmpe.suppress.clusters import ranking

COCO = load_skeleton("coco17")


def photos(count=12, seed=0):
    """Annotations, and several noisy poses per person, one entry per photo."""
    rng = np.random.default_rng(seed)
    images, annotations, candidates = [], [], []
    for image_id in range(count):
        images.append({"id": image_id, "file_name": f"{image_id}.jpg"})
        found = [Poses.empty(COCO)]
        for _ in range(rng.integers(0, 4)):
            side, corner = rng.uniform(40, 150), rng.uniform(0, 300, 2)
            points = corner + side * rng.uniform(0, 1, (17, 2))
            labelled = rng.uniform(size=17) < rng.choice([0.0, 0.9])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": int(rng.uniform() < 0.15),
                    "bbox": [*corner.tolist(), side, side],
                    "area": 0.5 * side * side,
                    "num_keypoints": int(labelled.sum()),
                    "keypoints": np.column_stack([points, 2 * labelled]).ravel().tolist(),
                }
            )
            copies = rng.integers(1, 9)
            noise = rng.normal(0, side * rng.uniform(0.005, 0.06, (copies, 1, 1)), (copies, 17, 2))
            boxes = np.tile([*corner, *(corner + side)], (copies, 1))
            scores = rng.uniform(0.3, 1, (copies, 17))
            found.append(Poses(points + noise, scores, scores.mean(axis=1), boxes, COCO))
        candidates.append(Poses.merge(found))
    categories = [{"id": 1, "name": "person"}]
    return {"images": images, "annotations": annotations, "categories": categories}, candidates


def truths_of(data):
    people = check_people(data)
    return Truths.from_coco(people.annotations, people.image_ids, COCO)


def coco_ap(data, per_photo):
    """AP by pycocotools, with keypoints at full precision."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    results = [
        {
            "image_id": image_id,
            "category_id": 1,
            "score": float(score),
            "keypoints": np.column_stack([points.astype(np.float64), np.ones(17)]).ravel().tolist(),
        }
        for image_id, poses in enumerate(per_photo)
        for points, score in zip(poses.keypoints, poses.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = data
        truth.createIndex()
        run = cocoeval.COCOeval(truth, truth.loadRes(results), "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats[0]


def flat(per_photo):
    ranked = [poses[ranking(poses)] for poses in per_photo]
    return Poses.merge(ranked), np.repeat(np.arange(len(ranked)), [len(poses) for poses in ranked])


@pytest.mark.parametrize("seed", range(4))
def test_matching_equals_pycocotools(seed):
    data, candidates = photos(seed=seed)
    ap = match_poses(truths_of(data), *flat(candidates)).coco_ap()
    assert 0.05 < ap < 1
    assert ap == pytest.approx(coco_ap(data, candidates), abs=1e-9)


def test_matching_equals_pycocotools_on_real_annotations(parity):
    data = json.loads((parity / "coco_gt.json").read_text("utf-8"))
    results = json.loads((parity / "coco_keypoint_dets.json").read_text("utf-8"))
    expected = json.loads((parity / "coco_expected.json").read_text("utf-8"))
    people = check_people(data)
    per_photo = {image_id: [] for image_id in people.image_ids}
    for result in results:
        per_photo[result["image_id"]].append(result)
    poses = [
        Poses(
            np.array([r["keypoints"] for r in found], np.float64).reshape(-1, 17, 3)[..., :2],
            np.ones((len(found), 17)),
            [r["score"] for r in found],
            np.zeros((len(found), 4)),
            COCO,
        )
        for found in per_photo.values()
    ]
    ap = match_poses(
        Truths.from_coco(people.annotations, people.image_ids, COCO), *flat(poses)
    ).coco_ap()
    assert ap == pytest.approx(expected["keypoints"]["AP"], abs=1e-6)


def test_nothing_detected_and_nobody_there():
    data, candidates = photos()
    nothing = [Poses.empty(COCO)] * len(candidates)
    assert match_poses(truths_of(data), *flat(nothing)).coco_ap() == 0
    assert match_poses(truths_of(data | {"annotations": []}), *flat(candidates)).coco_ap() == -1


def test_measuring_all_photos_at_once_equals_photo_by_photo():
    data, candidates = photos(seed=1)
    together = Candidates(candidates, truths_of(data))
    for row, column in ((0, 0), (2, 5), (4, 9)):
        for plane in PLANES:
            axes = [
                axis[min(place, len(axis) - 1)]
                for axis, place in zip(plane.axes, (row, column), strict=True)
            ]
            parameters = plane.place(PoseNmsParameters(), *axes)
            alone = [parametric_nms(poses, parameters) for poses in candidates]
            expected = match_poses(truths_of(data), *flat(alone))
            assert together.ap(parameters) == expected.coco_ap()
            assert len(together.measure(parameters)[0].scores) == len(expected.scores)


def test_search_finds_its_way_from_a_bad_start():
    data, candidates = photos(seed=2)
    truths = truths_of(data)
    bad = PoseNmsParameters(sigma2=0.0005, lam=4, eta=3.5)
    learned = learn_nms(candidates, truths, start=bad, folds=3)
    assert learned.ap > learned.start_ap + 0.05
    assert learned.held_out_ap > learned.start_ap
    assert [surface.shape for surface in learned.surfaces] == [
        tuple(map(len, plane.axes)) for plane in PLANES
    ]
    assert learned.surfaces[0].max() >= learned.ap - 1e-9
    everything = np.ones(len(candidates))
    again = climb(Candidates(candidates, truths), learned.parameters, everything)
    assert again == learned.parameters  # nothing moves any more


@pytest.mark.parametrize(
    ("ends", "worth", "best"),
    [
        ([0, 0], [0.5], 0),  # a standstill
        ([0, 1, 2, 0], [0.5, 0.6, 0.4], 1),  # a circle
        ([0, 1, 2, 1], [0.3, 0.6, 0.7], 2),
        ([0, 0], [0.05], None),  # nowhere is better than the start
    ],
)
def test_the_best_point_visited_is_learned(monkeypatch, ends, worth, best):
    """Rounds end in columns of the last plane; ``worth`` is the mAP there, and 0.1 at the start."""
    start = PoseNmsParameters()
    plane = PLANES[-1]
    steps = iter([end for end in ends for _ in PLANES])

    def surface(candidates, parameters, plane, weights):
        values = np.zeros(tuple(map(len, plane.axes)))
        values[0, next(steps)] = 1
        return values

    class Known:
        def ap(self, parameters, weights):
            share = parameters.eta / (1 + parameters.lam)
            column = int(np.argmin(np.abs(np.array(plane.axes[1]) - share)))
            return 0.1 if parameters == start else worth[column]

    monkeypatch.setattr(nms, "surface", surface)
    monkeypatch.setattr(nms, "smoothed", lambda values: values)
    learned = climb(Known(), start, np.ones(1))
    assert next(steps, None) is None
    if best is None:
        assert learned == start
    else:
        assert learned == plane.place(learned, plane.axes[0][0], plane.axes[1][best])


def mpii_photos(folder, count=8, seed=0):
    """MPII's JSON, and several noisy poses per person as results, before pose NMS."""
    rng = np.random.default_rng(seed)
    people, results = [], []
    for number in range(count):
        for place in range(rng.integers(1, 4)):
            side = rng.uniform(60, 150)
            points = 200 * place + side * rng.uniform(0, 1, (16, 2))
            seen = rng.uniform(size=16) < 0.9
            person = {"image": f"{number}.jpg", "scale": side / 100}
            joints = np.where(seen[:, None], points + 1, 0)
            people.append(
                person | {"joints": joints.tolist(), "joints_vis": seen.astype(int).tolist()}
            )
            for _ in range(rng.integers(1, 6)):
                noisy = points + rng.normal(0, side * rng.uniform(0.01, 0.1), (16, 2))
                scores = rng.uniform(0.3, 1, 16)
                scores[rng.integers(16)] = 0  # a joint that is not found
                rows = np.column_stack([noisy, scores])
                results.append({"image_id": person["image"], "score": float(scores.mean())})
                results[-1] |= {"keypoints": rows.ravel().tolist()}
                results[-1] |= {"bbox": [*points.min(axis=0).tolist(), side, side]}
    annotations, candidates = folder / "mpii.json", folder / "candidates.json"
    annotations.write_text(json.dumps(people), "utf-8")
    candidates.write_text(json.dumps(results), "utf-8")
    return annotations, candidates


def test_mpii_figure_is_that_of_the_benchmark(tmp_path):
    annotations, file = mpii_photos(tmp_path)
    truths = MpiiTruths.read(annotations)
    candidates = Candidates(truths.read_candidates(file), truths)
    parameters = PoseNmsParameters(eta=0.4)
    kept = [parametric_nms(poses, parameters) for poses in truths.read_candidates(file)]
    results = [
        person | {"image_id": name}
        for name, poses in zip(truths.people, kept, strict=True)
        for person in poses.to_coco(0)
    ]
    (tmp_path / "kept.json").write_text(json.dumps(results), "utf-8")
    expected = PROTOCOLS["mpii"](annotations, tmp_path / "kept.json").figures["total_AP_14"]
    assert 100 * candidates.ap(parameters) == pytest.approx(expected, abs=0.05)  # rounded results
    assert candidates.ap(parameters) > candidates.ap(PoseNmsParameters(eta=9)) + 0.05
    nobody = [Poses.empty(load_skeleton("mpii16"))] * truths.photos
    assert Candidates(nobody, truths).ap(parameters) == 0
    file.write_text(json.dumps([results[0] | {"image_id": "nowhere.jpg"}]), "utf-8")
    with pytest.raises(DataError, match=r"image 'nowhere.jpg' is not in the annotations"):
        truths.read_candidates(file)
    file.write_text('[{"image_id": "0.jpg"}]', "utf-8")
    with pytest.raises(DataError, match="result 0: needs"):
        truths.read_candidates(file)


def test_command_learns_on_mpii(tmp_path):
    annotations, candidates = mpii_photos(tmp_path, count=4)
    out = tmp_path / "nms.toml"
    arguments = ["--protocol", "mpii", "--annotations", annotations, "--candidates", candidates]
    arguments += ["--out", out, "--folds", 2]
    outcome = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "4 photos" in out.read_text("utf-8")
    assert load_config(PoseNmsParameters, out).eta > 0


def test_smoothing_by_hand():
    np.testing.assert_allclose(smoothed(np.array([[0.0, 9.0], [0.0, 0.0]])), [[2, 4], [1, 2]])


def test_command_writes_what_predict_reads(tmp_path):
    data, candidates = photos(seed=3)
    annotations, results = tmp_path / "annotations.json", tmp_path / "results.json"
    annotations.write_text(json.dumps(data), "utf-8")
    people = [
        person for image_id, poses in enumerate(candidates) for person in poses.to_coco(image_id)
    ]
    results.write_text(json.dumps(people), "utf-8")
    out, plot = tmp_path / "learned" / "nms.toml", tmp_path / "plots" / "nms.png"
    arguments = [
        "--annotations",
        annotations,
        "--candidates",
        results,
        "--out",
        out,
        "--plot",
        plot,
        "--folds",
        2,
    ]
    outcome = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert outcome.exit_code == 0 and "on photos held out (2 folds)" in outcome.output
    assert load_config(PoseNmsParameters, out).eta > 0
    assert plot.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "99"),
        ({"keypoints": [0.0, 0.0, 2.0] * 17}, r"lie in \[0, 1\]"),
        ({"keypoints": [0.0] * 9}, "keypoints"),
        ({"bbox": None}, "bbox"),
    ],
)
def test_broken_candidates_are_named(tmp_path, change, message):
    data, candidates = photos(seed=3)
    (tmp_path / "a.json").write_text(json.dumps(data), "utf-8")
    full = next((image_id, poses) for image_id, poses in enumerate(candidates) if len(poses))
    person = full[1].to_coco(full[0])[0] | change
    (tmp_path / "c.json").write_text(json.dumps([person]), "utf-8")
    with pytest.raises(DataError, match=message) as error:
        read_candidates(tmp_path / "c.json", read_people(tmp_path / "a.json"), COCO)
    assert "c.json" in str(error.value)
