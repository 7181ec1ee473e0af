"""MPII multi-person, PoseTrack (AP, CLEAR MOT, HOTA) and PCKh."""

import itertools
import json

import numpy as np
import pytest
from test_evaluation_coco import assert_figures

from rmpe.errors import DataError
from rmpe.evaluation.files import mpii as mpii_files
from rmpe.evaluation.files import posetrack as posetrack_files
from rmpe.evaluation.files.frames import (
    Footage,
    Frame,
    Sequence,
    frames_layout,
    head_size,
    is_frames_layout,
    read_frames,
)
from rmpe.evaluation.matching import clear_mot, hota
from rmpe.evaluation.matching.joint_ap import mean_ap, rank_joints
from rmpe.evaluation.matching.oks import keypoint_similarity, oks
from rmpe.evaluation.protocols import mpii, pck, posetrack
from rmpe.files import read_json
from rmpe.skeletons import load_skeleton

pytest.importorskip("scipy")
NOT_IMITATED = (
    "MOTP_as_reference_with_motmetrics_1_4",
    "MOTP_as_reference_with_motmetrics_1_4_mean",
)
BOOKKEEPING = (
    "reference",
    "threshold",
    "groups",
    "total_AP_as_printed_by_reference_15",
    "head_AP_as_printed_by_reference",
)


def flat(figures):
    """Dicts of dicts as one dict of lists."""
    return {k: list(v.values()) if isinstance(v, dict) else v for k, v in figures.items()}


# MPII multi-person


def test_mpii_parity(parity):
    data = read_json(parity / "mpii_multiperson_ap.json")
    figures = mpii.evaluate_mpii(frames_layout(data, "parity"))
    assert list(figures["AP"]) == data["joint_names"]
    assert list(figures["group_AP"]) == list(data["expected"]["group_AP"])
    assert_figures(flat(figures), flat(data["expected"]), 1e-6, BOOKKEEPING)


def test_mpii_json_gives_the_same_as_frames(parity, tmp_path):
    """The same people and poses written as MPII's usual JSON and a COCO results list."""
    data = read_json(parity / "mpii_multiperson_ap.json")
    people, results = [], []
    for frame in data["frames"]:
        for person in frame["gt"]:
            # MPII's files count pixels from 1.
            points = [np.add(point or 0, [1, 1]).tolist() for point in person["joints"]]
            flags = [int(point is not None) for point in person["joints"]]
            scale = head_size(person["head_box"]) / 25
            place = [
                *range(6),
                12,
                13,
                12,
                13,
                *range(6, 12),
            ]  # pelvis and thorax hold anything: they are not used
            people.append({"image": frame["image"], "scale": scale, "center": [0, 0]})
            people[-1] |= {
                "joints": [points[i] for i in place],
                "joints_vis": [flags[i] for i in place],
            }
        for person in frame["pred"]:
            rows = [person["joints"][i] or [0, 0, 0] for i in place]
            results.append(
                {"image_id": frame["image"], "keypoints": np.ravel(rows).tolist(), "score": 1}
            )
    (tmp_path / "valid.json").write_text(json.dumps(people), "utf-8")
    (tmp_path / "results.json").write_text(json.dumps(results), "utf-8")
    footage = mpii_files.read_annotations(tmp_path / "valid.json", tmp_path / "results.json")
    assert_figures(flat(mpii.evaluate_mpii(footage)), flat(data["expected"]), 1e-6, BOOKKEEPING)
    assert len(footage.warnings) == 1 and "images have no detection" in footage.warnings[0]
    (tmp_path / "results.json").write_text(
        json.dumps([results[0] | {"image_id": "nowhere.jpg"}]), "utf-8"
    )
    with pytest.raises(DataError, match=r"image 'nowhere.jpg' is not in"):
        mpii_files.read_annotations(tmp_path / "valid.json", tmp_path / "results.json")


def test_weights_equal_repeated_frames(parity):
    footage = read_frames(parity / "mpii_multiperson_ap.json")
    weights = np.random.default_rng(1).integers(0, 3, len(footage.frames))
    repeated = [f for f, weight in zip(footage.frames, weights, strict=True) for _ in range(weight)]
    expected = mean_ap(rank_joints(repeated, 14))
    assert mean_ap(rank_joints(footage.frames, 14), weights) == pytest.approx(expected, abs=1e-9)


# PoseTrack


@pytest.fixture(scope="module")
def posetrack_data(parity):
    return read_json(parity / "posetrack_eval.json")


@pytest.mark.parametrize(
    ("sequences", "reference", "clean"),
    [
        ("sequences", "expected", "expected_clean_all_frames"),
        (
            "sequences_empty_predictions",
            "expected_empty_predictions_reference",
            "expected_empty_predictions_clean_all_frames",
        ),
    ],
)
def test_posetrack_parity(posetrack_data, sequences, reference, clean):
    footage = frames_layout(posetrack_data | {"sequences": posetrack_data[sequences]}, "parity")
    figures = posetrack.evaluate_posetrack(footage)
    nested = ("MOTA_per_sequence", "AP_printed_groups")
    for name in nested:
        assert_figures(figures[name], posetrack_data[reference][name], 1e-6)
    assert_figures(figures, posetrack_data[reference], 1e-6, (*NOT_IMITATED, *nested))
    assert_figures(figures["clean_all_frames"], posetrack_data[clean], 1e-6)


def official(data):
    """The parity sequences as PoseTrack 2018 JSON with 17 joints (two ears)."""
    names = ["head_bottom" if name == "neck" else name for name in data["joint_names"]]
    names = [*names[13:], "left_ear", "right_ear", *names[:13]]
    truth = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    found = []
    for (number, sequence), index in itertools.product(enumerate(data["sequences"]), range(30)):
        image = {
            "id": 1000 * number + index,
            "vid_id": str(number),
            "frame_id": index,
            "is_labeled": True,
        }
        regions = sequence.get("ignore_regions", [])
        image["ignore_regions_x"] = [[x for x, _ in region] for region in regions]
        image["ignore_regions_y"] = [[y for _, y in region] for region in regions]
        truth["images"].insert(0, image)  # out of order on purpose
        for side, people in sequence["frames"][index].items():
            for person in people:
                rows = [[*(p or [0, 0, 0]), 1][:3] for p in person["joints"]]
                for row, point in zip(rows, person["joints"], strict=True):
                    row[2] = 0 if point is None else row[2]
                rows = [*rows[13:], [0, 0, 0], [0, 0, 0], *rows[:13]]
                record = {"image_id": image["id"], "track_id": person["track_id"]}
                record["keypoints"] = np.ravel([[x, y, s > 0] for x, y, s in rows]).tolist()
                if side == "gt":
                    left, top, right, bottom = person["head_box"]
                    truth["annotations"].append(
                        record | {"bbox_head": [left, top, right - left, bottom - top]}
                    )
                else:
                    found.append(record | {"scores": [s for _, _, s in rows]})
    return truth, found


def test_posetrack_json_gives_the_same_as_frames(posetrack_data, tmp_path):
    truth, found = official(posetrack_data)
    (tmp_path / "truth").mkdir()
    (tmp_path / "found").mkdir()
    (tmp_path / "truth" / "all.json").write_text(json.dumps(truth), "utf-8")
    (tmp_path / "found" / "all.json").write_text(json.dumps(found), "utf-8")
    by_folder = posetrack_files.read_annotations(tmp_path / "truth", tmp_path / "found")
    by_file = posetrack_files.read_annotations(
        tmp_path / "truth" / "all.json", tmp_path / "found" / "all.json"
    )
    for footage in (by_folder, by_file):
        figures = posetrack.evaluate_posetrack(footage)
        expected = posetrack_data["expected"]
        assert_figures(
            figures, expected, 1e-6, (*NOT_IMITATED, "MOTA_per_sequence", "AP_printed_groups")
        )
    (tmp_path / "found" / "all.json").unlink()
    missing = posetrack_files.read_annotations(tmp_path / "truth", tmp_path / "found")
    assert "no all.json" in missing.warnings[0]
    assert posetrack.evaluate_posetrack(missing)["AP_mean"] == 0


def test_empty_prediction_frames_are_people_missed():
    frame = make_frame(truth=[[[5, 5], [9, 9]], [[50, 50], [60, 60]]], points=[])
    clean, reference = (
        clear_mot.count_mot([frame], 2, empty_as_one=quirk) for quirk in (False, True)
    )
    assert clean.misses.tolist() == [2, 2] and clean.false_positives.tolist() == [0, 0]
    assert reference.misses.tolist() == [1, 1] and reference.false_positives.tolist() == [1, 1]


def make_frame(truth, points, truth_ids=None, point_ids=None):
    joints = len(truth[0])
    annotated = np.array(truth, float).reshape(-1, joints, 2)
    found = np.array(points, float).reshape(-1, joints, 2)
    people, tracks = len(annotated), len(found)
    ids = [
        np.arange(n) if i is None else np.array(i)
        for n, i in ((people, truth_ids), (tracks, point_ids))
    ]
    return Frame(
        annotated,
        np.full(people, 10.0),
        np.full(people, 400.0),
        ids[0],
        found,
        np.ones((tracks, joints)),
        ids[1],
    )


def test_identity_switch_is_remembered_through_a_gap():
    here, track = [[[5, 5]]], [[[6, 5]]]
    frames = [
        make_frame(here, track, [1], [7]),
        make_frame(here, [[[500, 500]]], [1], [7]),  # missed, and a false positive
        make_frame(here, track, [1], [8]),  # found again under another id
    ]
    counts = clear_mot.count_mot(frames, 1)
    assert (counts.misses[0], counts.false_positives[0], counts.switches[0], counts.objects[0]) == (
        1,
        1,
        1,
        3,
    )
    assert counts.distance[0] == pytest.approx(0.2)
    assert counts.figures()["MOTA"][0] == pytest.approx(0)


def test_followed_pair_beats_a_nearer_track():
    frames = [
        make_frame([[[5, 5]]], [[[6, 5]]], [1], [7]),
        make_frame([[[5, 5]]], [[[9, 5]], [[5, 5]]], [1], [7, 8]),
    ]
    counts = clear_mot.count_mot(frames, 1)
    assert counts.switches[0] == 0 and counts.false_positives[0] == 1


# HOTA


def hota_by_enumeration(frames, sigmas):
    """HOTA by its definition, with brute-force assignments; for small inputs."""
    matrices = [oks(f.truth, f.points, f.areas, sigmas) for f in frames]
    cells = [
        {
            (g, p): m[i, j]
            for i, g in enumerate(f.truth_ids.tolist())
            for j, p in enumerate(f.point_ids.tolist())
        }
        for f, m in zip(frames, matrices, strict=True)
    ]
    seen = {g: sum(g in f.truth_ids for f in frames) for f in frames for g in f.truth_ids.tolist()}
    given = {p: sum(p in f.point_ids for f in frames) for f in frames for p in f.point_ids.tolist()}

    def soft(g, p):
        total = 0.0
        for cell in cells:
            if cell.get((g, p), 0) > 0:
                row = sum(s for (a, _), s in cell.items() if a == g)
                column = sum(s for (_, b), s in cell.items() if b == p)
                total += cell[g, p] / (row + column - cell[g, p])
        return total / (seen[g] + given[p] - total)

    matched = []
    for frame, cell in zip(frames, cells, strict=True):
        rows, columns = frame.truth_ids.tolist(), frame.point_ids.tolist()
        size = min(len(rows), len(columns))
        options = [
            list(zip(chosen, order, strict=True))
            for chosen in itertools.combinations(rows, size)
            for order in itertools.permutations(columns, size)
        ]
        best = max(options, key=lambda pairs: sum(soft(*pair) * cell[pair] for pair in pairs))
        matched.append([(pair, cell[pair]) for pair in best])
    values = []
    for alpha in hota.ALPHAS:
        pairs = [pair for frame in matched for pair, similarity in frame if similarity >= alpha]
        missed, wrong = sum(seen.values()) - len(pairs), sum(given.values()) - len(pairs)
        association = sum(
            pairs.count(c) / (seen[c[0]] + given[c[1]] - pairs.count(c)) for c in pairs
        ) / max(len(pairs), 1)
        values.append(np.sqrt(len(pairs) / (len(pairs) + missed + wrong) * association))
    return 100 * np.mean(values)


@pytest.mark.parametrize("seed", range(5))
def test_hota_equals_its_definition(seed):
    generator = np.random.default_rng(seed)
    frames = []
    for _ in range(6):
        people, tracks = generator.integers(1, 4), generator.integers(1, 4)
        ids = generator.permutation(4)[:people], generator.permutation(4)[:tracks]
        place = generator.uniform(0, 4, (4, 3, 2)) + np.arange(4)[:, None, None] * 8
        frames.append(make_frame(place[ids[0]] + 1, place[ids[1]], *ids))
    sigmas = (0.1, 0.2, 0.3)
    assert hota.count_hota(frames, sigmas).figures()["HOTA"] == pytest.approx(
        hota_by_enumeration(frames, sigmas), abs=1e-9
    )


def test_perfect_tracks_and_no_tracks(posetrack_data):
    footage = frames_layout(posetrack_data, "parity")
    sigmas = (0.1,) * 15
    frames = footage.sequences[0].frames
    perfect = [
        Frame(
            f.truth,
            f.head_sizes,
            f.areas,
            f.truth_ids,
            f.truth,
            np.ones(f.truth.shape[:2]),
            f.truth_ids,
        )
        for f in frames
    ]
    assert hota.count_hota(perfect, sigmas).figures()["HOTA"] == pytest.approx(100)
    assert clear_mot.count_mot(perfect, 15).figures()["MOTA_mean"] == pytest.approx(100)
    assert hota.count_hota([], sigmas).figures()["HOTA"] == 0
    without = Footage(footage.joint_names, [Sequence("s", [make_no_ids(f) for f in frames])], [])
    figures = posetrack.evaluate_posetrack(without)
    assert "MOTA" not in figures and "have no track id" in without.warnings[0]


def make_no_ids(f):
    return Frame(
        f.truth, f.head_sizes, f.areas, f.truth_ids, f.points, f.scores, np.full(len(f.points), -1)
    )


# OKS


def test_oks_by_hand():
    truth = np.array([[[0, 0], [np.nan, np.nan]]])
    points = np.array([[[3, 4], [0, 0]], [[np.nan, np.nan], [0, 0]]])
    # d^2 = 25, 2 area (2 sigma)^2 = 2 * 50 * 0.25 = 25
    expected = np.exp(-1)
    assert oks(truth, points, [50], [0.25, 0.1])[0] == pytest.approx([expected, 0])
    assert np.isnan(keypoint_similarity(truth, points, [50], [0.25, 0.1])[0, :, 1]).all()


# The frames layout


def layout(**changes):
    person = {"head_box": [0, 0, 3, 4], "joints": [[1, 2], None], "track_id": 1}
    frame = {
        "gt": [person],
        "pred": [{"joints": [[1, 2, 0.5], [1, 1, 0.3]], "track_id": 1}],
    } | changes
    return {"joint_names": ["nose", "neck"], "frames": [frame]}


def test_frames_layout_reads_nulls_and_head_size():
    frame = frames_layout(layout(), "f").frames[0]
    assert frame.head_sizes[0] == pytest.approx(3) and np.isnan(frame.truth[0, 1]).all()
    assert (
        is_frames_layout(layout())
        and not is_frames_layout([])
        and not is_frames_layout({"images": []})
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred": [{"joints": [[1, 2, 0.5]]}]}, "1 joints, there are 2"),
        ({"pred": [{"joints": [[1, 2], None]}]}, "not 3 finite numbers"),
        (
            {"pred": [{"joints": [[1, float("nan"), 1], None]}]},
            "joint 0 has a number that is not finite",
        ),
        ({"gt": [{"joints": [[1, 2], None]}]}, "'head_box' is nothing"),
        ({"gt": [{"joints": [[1, 2], None], "head_box": [5, 5, 5, 5]}]}, "'head_box' has no size"),
        ({"pred": [{"track_id": 1}]}, "'joints' is nothing"),
        (
            {"pred": [{"joints": [["a", 2, 1], None]}]},
            "joint 0 must hold numbers only, not text 'a'",
        ),
        ({"pred": [{"joints": [None, None], "track_id": 3}] * 2}, "same track id"),
    ],
)
def test_broken_frames(changes, message):
    with pytest.raises(DataError, match=message):
        frames_layout(layout(**changes), "f")


def test_ignore_regions_erase_joints_and_people():
    frame = make_frame([[[5, 5], [50, 50]], [[6, 6], [7, 7]]], [[[5, 5], [8, 8]]])
    left = frame.outside([[[0, 0], [10, 0], [10, 10], [0, 10]]])
    assert (
        len(left.truth) == 1
        and np.isnan(left.truth[0, 0]).all()
        and left.truth[0, 1].tolist() == [50, 50]
    )
    assert len(left.points) == 0


# PCKh


def test_pckh_parity(parity):
    data = np.load(parity / "pckh_single.npz")
    skeleton = load_skeleton("mpii16")
    figures = pck.evaluate_pckh(
        data["gt"], data["pred"], data["head_size"], data["annotated"], skeleton
    )
    names = (
        "pckh50_plain",
        "mean14_of_joints",
        "pooled14",
        "pooled16",
        "group_pooled",
        "n_annotated",
        "thresholds",
    )
    assert_figures(figures, {name: data[name] for name in names}, 1e-6)
    assert figures["groups"] == data["groups"].tolist()


def test_pckh_edges():
    skeleton = load_skeleton("mpii16")
    empty = pck.evaluate_pckh(
        np.zeros((0, 16, 2)), np.zeros((0, 16, 2)), np.zeros(0), np.zeros((0, 16)), skeleton
    )
    assert empty["pooled14"] == 0
    truth = np.zeros((1, 16, 2))
    lost = pck.evaluate_pckh(truth, np.full((1, 16, 2), np.nan), [1], np.ones((1, 16)), skeleton)
    assert lost["pooled16"] == 0
    with pytest.raises(DataError, match="head sizes must be positive"):
        pck.evaluate_pckh(truth, truth, [0], np.ones((1, 16)), skeleton)
    with pytest.raises(DataError, match="inconsistent shapes"):
        pck.evaluate_pckh(truth, truth[:, :14], [1], np.ones((1, 16)), skeleton)
