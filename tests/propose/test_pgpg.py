"""PGPG (RMPE, section 3.3): alignment, atoms, mixtures, sampling, files, and its baselines."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from rmpe.boxes import iou
from rmpe.errors import DataError, UsageError
from rmpe.propose.offsets import disturb, offset_iou, relative_offsets
from rmpe.propose.pgpg import Pgpg, align, log_densities
from rmpe.propose.policies import RandomJitter, TrueBoxes, load_policy
from rmpe.skeletons import load_skeleton

sklearn = pytest.importorskip("sklearn")
from rmpe.learn.detector_errors import Matches, match_coco, match_mpii
from rmpe.learn.pgpg import Sizes, atomic_poses, choose_sizes, learn_pgpg

COCO = load_skeleton("coco17")
JOINTS = COCO.joints
offsets_strategy = st.lists(st.floats(-0.45, 0.45), min_size=4, max_size=4).map(np.array)


def person(scale: float = 1.0, arms: float = 0.0) -> np.ndarray:
    """A standing person ``(17, 2)``, torso of length ``scale``; ``arms`` raises the wrists."""
    x = [0, 0.1, -0.1, 0.2, -0.2, 0.4, -0.4, 0.5, -0.5, 0.6, -0.6, 0.3, -0.3, 0.3, -0.3, 0.3, -0.3]
    y = [-1.5, -1.6, -1.6, -1.5, -1.5, -1, -1, -0.5, -0.5, -arms, -arms, 0, 0, 0.9, 0.9, 1.8, 1.8]
    return scale * np.stack([x, y], axis=1)


def one_gaussian(mean: float, sd: float) -> Pgpg:
    """One atom, one component."""
    return Pgpg(
        JOINTS, person()[None], np.ones((2, 1)), np.full((1, 4), mean), sd**2 * np.eye(4)[None], 0.5
    )


def two_kinds(people: int = 400, seed: int = 0) -> Matches:
    """Half have arms down and small errors, half arms up and detections shifted down."""
    generator = np.random.default_rng(seed)
    raised = np.arange(people) % 2 == 1
    poses = np.stack([person(50, 3.0 * up) for up in raised]) + generator.normal(
        0, 1, (people, 17, 2)
    )
    offsets = generator.normal(0, 0.03, (people, 4))
    offsets[raised] += [0, 0.2, 0, 0.2]
    visible = np.ones((people, 17), bool)
    return Matches(
        offsets, offset_iou(offsets), poses + 300, visible, np.arange(people) // 4, JOINTS
    )


@given(st.floats(0.1, 50), st.floats(-500, 500), st.floats(-500, 500))
def test_align_removes_size_and_place(scale: float, x: float, y: float) -> None:
    moved = scale * person() + [x, y]
    aligned = align(moved[None], np.ones((1, 17), bool), JOINTS)[0]
    assert np.allclose(aligned, person(), atol=1e-6 * (1 + 500 / scale))


@pytest.mark.parametrize(
    ("hidden", "has_torso"),
    [
        ([], True),
        (["left_shoulder", "right_hip"], True),
        (["left_shoulder", "right_shoulder"], False),
        (["left_hip", "right_hip"], False),
        (list(JOINTS), False),
    ],
)
def test_torso_needs_one_shoulder_and_one_hip(hidden: list[str], has_torso: bool) -> None:
    visible = np.array([[name not in hidden for name in JOINTS]])
    aligned = align(person()[None], visible, JOINTS)
    assert np.isfinite(aligned).any() == has_torso
    assert np.isnan(aligned[~visible]).all()


def test_foreshortened_torso_is_none() -> None:
    pose = person()
    pose[[5, 6]] = pose[[11, 12]] + [0, -0.1]
    assert np.isnan(align(pose[None], np.ones((1, 17), bool), JOINTS)).all()


def test_align_without_people_and_without_hips() -> None:
    assert align(np.zeros((0, 17, 2)), np.zeros((0, 17), bool), JOINTS).shape == (0, 17, 2)
    with pytest.raises(DataError, match="left_hip"):
        align(np.zeros((1, 2, 2)), np.ones((1, 2), bool), ("left_shoulder", "right_shoulder"))


@given(offsets_strategy)
def test_offset_iou_is_the_iou_of_the_boxes(offsets: np.ndarray) -> None:
    true = np.array([10.0, 20, 110, 70])
    proposal = disturb(true, offsets)
    expected = iou(proposal[None].astype(np.float32), true[None].astype(np.float32))[0, 0]
    assert offset_iou(offsets) == pytest.approx(expected, abs=1e-5)
    assert np.allclose(relative_offsets(proposal[None], true[None])[0], offsets)


def test_disturb_uses_the_side_of_its_own_direction() -> None:
    assert disturb([0, 0, 100, 200], [0.1, 0.1, -0.1, -0.1]).tolist() == [10, 20, 90, 180]


def test_kmeans_with_missing_joints_finds_both_kinds() -> None:
    matches = two_kinds()
    visible = np.random.default_rng(1).random((len(matches), 17)) > 0.3
    visible[:, [5, 11]] = True
    visible[:, 16] = False  # a joint nobody shows
    centers = atomic_poses(align(matches.keypoints, visible, JOINTS), 2, seed=0)
    wrists = sorted(centers[:, 9, 1].tolist())
    assert wrists == pytest.approx(
        [-3, 0], abs=0.4
    )  # one shoulder and one hip make a slightly longer torso
    assert np.isnan(centers[:, 16]).all() and np.isfinite(centers[:, :16]).all()


@pytest.mark.parametrize("shared", [True, False])
def test_learnt_mixture_tells_the_kinds_apart(shared: bool) -> None:
    matches = two_kinds()
    pgpg = learn_pgpg(matches, Sizes(2, 2, shared), iou=0.3)
    kinds = pgpg.atoms_of(matches.keypoints, matches.visible)
    assert set(kinds[::2]) != set(kinds[1::2]) and set(kinds) == {0, 1}
    drawn = pgpg.sample(kinds[:2], 4000, np.random.default_rng(0))
    assert drawn[0].mean(axis=0) == pytest.approx([0, 0, 0, 0], abs=0.02)
    assert drawn[1].mean(axis=0) == pytest.approx([0, 0.2, 0, 0.2], abs=0.02)
    assert np.all(
        (drawn[0].std(axis=0) > 0.025) & (drawn[0].std(axis=0) < 0.06)
    )  # shared weights leak a little


def test_held_out_likelihood_prefers_the_truth() -> None:
    sizes = [Sizes(1, 1, True), Sizes(2, 2, True), Sizes(2, 1, False), Sizes(1, 1, False)]
    ranked = choose_sizes(two_kinds(), sizes, folds=3)
    assert {candidate.sizes.atoms for candidate in ranked[:2]} == {2}
    assert ranked[0].gain > 5 * ranked[0].gain_error > 0
    assert (
        sum(candidate.gain == 0 for candidate in ranked) >= 1
    )  # the reference: the best with one atom


def test_held_out_likelihood_needs_images() -> None:
    with pytest.raises(DataError, match="too few"):
        choose_sizes(two_kinds(8), folds=5)


def test_too_few_people_for_the_atoms() -> None:
    with pytest.raises(DataError, match="too few"):
        learn_pgpg(two_kinds(4), Sizes(8, 1, True), 0.5)


def test_person_without_torso_has_a_kind_of_its_own() -> None:
    pgpg = learn_pgpg(two_kinds(), Sizes(2, 2, True), 0.5)
    visible = np.zeros((2, 17), bool)
    visible[1, :5] = True
    assert pgpg.atoms_of(np.zeros((2, 17, 2)), visible).tolist() == [2, 2]
    assert pgpg.sample(np.array([2, 2]), 3, np.random.default_rng(0)).shape == (2, 3, 4)
    assert pgpg.atoms_of(np.zeros((0, 17, 2)), np.zeros((0, 17), bool)).shape == (0,)


def test_log_densities_equal_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    roots = generator.normal(0, 0.1, (3, 4, 4))
    covariances = roots @ roots.transpose(0, 2, 1) + 1e-3 * np.eye(4)
    means, offsets = generator.normal(0, 0.1, (3, 4)), generator.normal(0, 0.1, (5, 4))
    expected = [
        stats.multivariate_normal(mean, cov).logpdf(offsets)
        for mean, cov in zip(means, covariances, strict=True)
    ]
    assert np.allclose(log_densities(offsets, means, covariances), np.array(expected).T)


def test_log_likelihood_weighs_the_parts_of_the_atom() -> None:
    parts = {"means": np.array([[0.0] * 4, [1.0] * 4]), "covariances": np.stack([np.eye(4)] * 2)}
    pgpg = Pgpg(JOINTS, person()[None], np.array([[1.0, 0.0], [0.25, 0.75]]), **parts, iou=0.5)
    far, near = np.exp(-2) / (2 * np.pi) ** 2, 1 / (2 * np.pi) ** 2
    expected = np.log([far, 0.25 * far + 0.75 * near])
    assert pgpg.log_likelihood(np.ones((2, 4)), np.array([0, 1])) == pytest.approx(expected)


def test_file_round_trip(tmp_path) -> None:
    matches = two_kinds()
    visible = matches.visible.copy()
    visible[:, 16] = False
    matches = Matches(
        matches.offsets, matches.ious, matches.keypoints, visible, matches.image_ids, JOINTS
    )
    pgpg = learn_pgpg(matches, Sizes(3, 4, False), 0.5)
    pgpg.learned.update(detections="boxes.json", people=400)
    pgpg.save(tmp_path / "pgpg.toml")
    again = Pgpg.load(tmp_path / "pgpg.toml")
    kinds = pgpg.atoms_of(matches.keypoints, visible)
    assert np.array_equal(again.atoms_of(matches.keypoints, visible), kinds)
    assert np.allclose(
        again.log_likelihood(matches.offsets, kinds),
        pgpg.log_likelihood(matches.offsets, kinds),
        atol=0.05,
    )
    assert again.learned == pgpg.learned and again.iou == 0.5 and again.joints == JOINTS


@pytest.mark.parametrize(
    "text", ["", "joints = 3", "not toml", "joints = []\natoms = []\nparts = []\nno_torso = {}"]
)
def test_broken_file_is_a_data_error(tmp_path, text: str) -> None:
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(DataError, match=r"broken\.toml"):
        load_policy(str(tmp_path / "broken.toml"))


def test_other_skeleton_uses_joints_of_the_same_name() -> None:
    pgpg = learn_pgpg(two_kinds(), Sizes(2, 2, True), 0.5)
    crowd = load_skeleton("crowdpose14")
    moved = pgpg.to_joints(crowd.joints)
    index = [JOINTS.index(name) if name in JOINTS else -1 for name in crowd.joints]
    points = np.stack([person(30), person(30, 3.0)])
    visible = np.tile(np.array(index) >= 0, (2, 1))
    assert np.array_equal(
        moved.atoms_of(points[:, index], visible), pgpg.atoms_of(points, np.ones((2, 17), bool))
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 4), st.integers(1, 5), st.integers(0, 1000))
def test_policies_share_one_interface(people: int, count: int, seed: int) -> None:
    pgpg = one_gaussian(0, 0.1)
    for policy, smallest in (
        (TrueBoxes(), 1),
        (RandomJitter(), 0.5),
        (RandomJitter(iou=0.8), 0.8),
        (pgpg, 0.5),
    ):
        atoms = policy.atoms_of(np.zeros((people, 17, 2)), np.zeros((people, 17), bool))
        first, again = (policy.sample(atoms, count, np.random.default_rng(seed)) for _ in range(2))
        assert first.shape == (people, count, 4) and np.array_equal(first, again)
        assert np.all(offset_iou(first) >= smallest)


def test_hopeless_distribution_is_refused() -> None:
    pgpg = one_gaussian(5, 0.01)
    with pytest.raises(DataError, match="below IoU"):
        pgpg.sample(np.zeros(2, np.int64), 1, np.random.default_rng(0))


def test_load_policy_names() -> None:
    assert load_policy("true") == TrueBoxes() and load_policy("jitter") == RandomJitter()
    with pytest.raises(UsageError, match="jitter"):
        load_policy("jittre")


def test_shipped_file_samples_fast() -> None:

    policy = load_policy(str(ROOT / "configs" / "pgpg_yolox_nano.toml"))
    atoms = policy.atoms_of(np.stack([person(40), person(40, 3.0)] * 128), np.ones((256, 17), bool))
    start = time.perf_counter()
    drawn = policy.sample(atoms, 1, np.random.default_rng(0))
    assert time.perf_counter() - start < 0.1  # about a millisecond; a batch of a training loop
    assert np.all(offset_iou(drawn) >= 0.5) and 0.02 < drawn.std() < 0.2


def coco_files(folder, matches: Matches) -> tuple[str, str]:
    """COCO annotations and box results with ``matches`` and with entries that must be skipped."""
    true = np.array([100.0, 100, 200, 300])
    people, boxes = [], []
    for number, (offset, points) in enumerate(zip(matches.offsets, matches.keypoints, strict=True)):
        box, keypoints = (
            disturb(true, offset),
            np.concatenate([points, np.full((17, 1), 2)], axis=1),
        )
        shared = {"image_id": number, "category_id": 1}
        people.append(
            {
                "id": number,
                **shared,
                "iscrowd": 0,
                "bbox": [100, 100, 100, 200],
                "keypoints": keypoints.ravel().tolist(),
            }
        )
        boxes += [
            {**shared, "bbox": [*box[:2], *(box[2:] - box[:2])], "score": 0.3},
            {**shared, "bbox": [150, 250, 100, 200], "score": 0.9},  # overlaps less
        ]
    crowd = {**people[0], "id": 10_000, "iscrowd": 1}
    unlabelled = {**people[0], "id": 10_001, "keypoints": [0] * 51}
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(len(people))]
    categories = [{"id": 1, "name": "person", "keypoints": list(JOINTS)}]
    truth = {
        "images": images,
        "annotations": [*people, crowd, unlabelled],
        "categories": categories,
    }
    paths = folder / "annotations.json", folder / "boxes.json"
    for path, data in zip(paths, (truth, boxes), strict=True):
        path.write_text(json.dumps(data))
    return str(paths[0]), str(paths[1])


def test_match_coco_takes_the_best_detection(tmp_path) -> None:
    matches = two_kinds(12)
    coco_files(tmp_path, matches)
    found = match_coco(tmp_path / "annotations.json", tmp_path / "boxes.json", COCO)
    assert len(found) == 12 and np.allclose(found.offsets, matches.offsets)
    assert np.allclose(found.ious, matches.ious, atol=1e-5) and found.visible.all()
    with pytest.raises(DataError, match="its joints are not those of"):
        match_coco(tmp_path / "annotations.json", tmp_path / "boxes.json", load_skeleton("lsp14"))
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(DataError, match="no detection"):
        match_coco(tmp_path / "annotations.json", tmp_path / "none.json", COCO)


def mpii_files(folder, matches) -> tuple[str, str]:
    """MPII's JSON, which counts pixels from 1, and boxes of a detector, which count from 0.

    The joints of MPII that COCO lacks are not annotated; the same people as in ``matches``.
    """
    mpii = load_skeleton("mpii16")
    source = COCO.correspondence(mpii)
    people, boxes = [], []
    for index in range(len(matches)):
        seen = (source >= 0) & matches.visible[index][source]
        points = np.where(seen[:, None], matches.keypoints[index][source] + 500, 0)
        name = f"{index}.jpg"
        people.append({"image": name, "scale": 1.0, "joints_vis": seen.astype(int).tolist()})
        people[-1]["joints"] = np.where(seen[:, None], points + 1, 0).tolist()
        low, high = points[seen].min(axis=0), points[seen].max(axis=0)
        grown = 0.1 * (high - low)
        true = np.concatenate([low - grown, high + grown])
        sides = np.tile(true[2:] - true[:2], 2)
        box = true + matches.offsets[index] * sides
        record = {"image_id": name, "bbox": [*box[:2], *(box[2:] - box[:2])], "score": 0.9}
        boxes.append({"image": name, "box": box.tolist()} if index % 2 else record)
    (folder / "mpii.json").write_text(json.dumps(people))
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return str(folder / "mpii.json"), str(folder / "boxes.json")


def test_match_mpii(tmp_path) -> None:
    matches = two_kinds(12)
    annotations, boxes = map(Path, mpii_files(tmp_path, matches))
    found = match_mpii(annotations, boxes)
    assert np.allclose(found.offsets, matches.offsets, atol=1e-5)
    assert found.joints == load_skeleton("mpii16").joints
    assert len(np.unique(found.image_ids)) == 12
    for content, words in (
        ("[]", "no detection"),
        ("{}", "expected a list"),
        ('[{"image": "0.jpg"}]', "box 0: needs image_id"),
        ('[{"image": "0.jpg", "box": [5, 5, 5, 9]}]', "no box with sides"),
    ):
        boxes.write_text(content)
        with pytest.raises(DataError, match=words):
            match_mpii(annotations, boxes)


def test_command_learns_the_papers_mixtures_on_mpii(tmp_path) -> None:
    """Each atom has Gaussians of its own: no part has weight for two kinds of pose."""
    from rmpe.cli import rmpe

    annotations, boxes = mpii_files(tmp_path, two_kinds(120))
    out = tmp_path / "pgpg.toml"
    arguments = ["learn", "pgpg", "--protocol", "mpii", "--mixture", "atom"]
    arguments += ["--atoms", "2", "--parts", "1", "--iou", "0.2"]
    arguments += ["--annotations", annotations, "--detections", boxes, "--out", str(out)]
    result = CliRunner().invoke(rmpe, arguments)
    assert result.exit_code == 0, result.output
    learned = Pgpg.load(out)
    assert learned.joints == load_skeleton("mpii16").joints
    assert np.array_equal((learned.weights > 0).sum(axis=0), np.ones(len(learned.means)))


def test_command_learns_writes_and_draws(tmp_path, monkeypatch) -> None:
    from rmpe.cli import rmpe
    from rmpe.learn import pgpg as learning

    monkeypatch.setattr(learning, "SIZES", (Sizes(1, 1, True), Sizes(2, 2, True)))
    annotations, boxes = coco_files(tmp_path, two_kinds(120))
    out = tmp_path / "pgpg.toml"
    arguments = [
        "learn",
        "pgpg",
        "--detections",
        boxes,
        "--annotations",
        annotations,
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(rmpe, [*arguments, "--iou", "0.4", "--plots", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "2 atoms" in result.output and len(Pgpg.load(out).centers) == 2
    assert (tmp_path / "atoms.png").stat().st_size > 5000 and (
        tmp_path / "offsets.png"
    ).stat().st_size > 5000
    fixed = CliRunner().invoke(rmpe, [*arguments, "--atoms", "3", "--parts", "1"])
    assert fixed.exit_code == 0, fixed.output
    assert Pgpg.load(out).weights.shape == (4, 1)
    assert "go together" in str(CliRunner().invoke(rmpe, [*arguments, "--atoms", "3"]).exception)


def test_authors_pairs(data_root) -> None:
    """The authors' boxes give the published numbers of pairs: best person for each box."""
    folder = data_root / "data" / "mpii-rmpe"
    people = json.loads((folder / "val_persons.json").read_text())["persons"]
    overlaps = []
    for box in json.loads((folder / "val_ssd_boxes.json").read_text()):
        true = np.array([one["box"] for one in people if one["image"] == box["image"]], np.float32)
        overlaps.append(iou(np.array([box["box"]], np.float32), true).max())
    assert [int(np.sum(np.array(overlaps) >= cut)) for cut in (0.4, 0.5, 0.6)] == [1368, 1203, 1074]
