"""Readers, unions, checks on opening, packed crops."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from numpy.testing import assert_allclose, assert_array_equal
from small_set import write_set
from tiny_models import yolox_model

from rmpe import affine
from rmpe.boxes import Boxes
from rmpe.datasets.coco import read_coco
from rmpe.datasets.lsp import read_lsp
from rmpe.datasets.mpii import read_mpii
from rmpe.datasets.packed import CropSpec, pack, read_rgb
from rmpe.datasets.persons import PersonSet, union
from rmpe.datasets.sets import DataConfig, SetConfig, open_data
from rmpe.datasets.unlabelled import NEAR, find_unlabelled, photo_hashes
from rmpe.datasets.unlisted import NO_ID, add_unlisted
from rmpe.errors import DataError, ImageError
from rmpe.evaluation.files import mpii as mpii_files
from rmpe.files import read_names
from rmpe.skeletons import load_skeleton

NOT_17 = "not 17 joints of 3 numbers"
NO_BOX = "box empty or outside the image"
OUTSIDE = "joint outside the image, taken as unlabelled"
COCO, LSP, MPII = (load_skeleton(name) for name in ("coco17", "lsp14", "mpii16"))


def edit(annotations: Path, change) -> None:
    data = json.loads(annotations.read_text())
    change(data)
    annotations.write_text(json.dumps(data))


def test_empty_set(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [], "annotations": []}')
    people = read_coco(tmp_path / "a.json", tmp_path, COCO)
    assert len(people) == 0
    assert people.without_images({"x"}).report().startswith("0 people")
    with pytest.raises(DataError, match="no training data"):
        pack(people, CropSpec((64, 48)), tmp_path)


def test_read_coco(tmp_path):
    people = read_coco(*write_set(tmp_path, COCO), COCO)
    assert (len(people), len(people.images), people.problems) == (6, 3, ())
    raw = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    x, y, w, h = raw[3]["bbox"]
    assert_allclose(people.boxes[3], [x, y, x + w, y + h])
    assert people.ids[3] == raw[3]["id"]
    given = np.array(raw[3]["keypoints"]).reshape(-1, 3)
    assert_array_equal(people.visibility[3], given[:, 2])
    assert_allclose(people.keypoints[3][given[:, 2] > 0], given[given[:, 2] > 0, :2], rtol=1e-5)
    assert np.isnan(people.keypoints[3][given[:, 2] == 0]).all()
    assert len(people[2:4]) == 2
    assert len(people.without_images({"0001.png"})) == 4


@pytest.mark.parametrize(
    ("change", "kind", "left"),
    [
        (lambda d: d["images"][0].update(file_name="gone.png"), "image file missing", 4),
        (lambda d: d["annotations"][0].update(bbox=[500, 500, 10, 10]), NO_BOX, 5),
        (lambda d: d["annotations"][0].update(bbox=[10, 10, 0, 10]), NO_BOX, 5),
        (lambda d: d["annotations"][0].update(keypoints=[1, 2, 2]), NOT_17, 5),
        (lambda d: d["annotations"][0].update(image_id=99), "person in an unlisted image", 5),
        (lambda d: d["annotations"][0]["keypoints"].__setitem__(0, 900), OUTSIDE, 6),
    ],
)  # fmt: skip
def test_what_is_wrong_is_reported_not_fatal(tmp_path, change, kind, left):
    annotations, photos = write_set(tmp_path, COCO)
    edit(annotations, change)
    people = read_coco(annotations, photos, COCO)
    assert len(people) == left
    assert [problem.kind for problem in people.problems] == [kind]
    assert f"1 x {kind}" in people.report()


def test_crowd_regions_are_left_out_in_silence(tmp_path):
    annotations, photos = write_set(tmp_path, COCO)
    edit(annotations, lambda d: d["annotations"][0].update(iscrowd=1, keypoints=[0] * 51))
    people = read_coco(annotations, photos, COCO)
    assert (len(people), people.problems) == (5, ())


def test_files_that_are_something_else(tmp_path):
    annotations, photos = write_set(tmp_path, COCO)
    names = ["thumb", *COCO.joints[1:]]
    with pytest.raises(DataError, match="its joints are not those of"):
        edit(annotations, lambda d: d["categories"][0].update(keypoints=names))
        read_coco(annotations, photos, COCO)
    annotations.write_text("[]")
    with pytest.raises(DataError, match="not COCO JSON"):
        read_coco(annotations, photos, COCO)
    with pytest.raises(DataError, match="not LSP JSON"):
        read_lsp(annotations, photos)
    annotations.write_text("{}")
    with pytest.raises(DataError, match="not MPII annotations"):
        read_mpii(annotations, photos)
    annotations.rename(matlab := annotations.with_suffix(".mat"))
    with pytest.raises(DataError, match="not MPII's official"):
        read_mpii(matlab, photos)


def test_read_lsp_by_names(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 80, 3), np.uint8))
    names = [name if name != "upper_neck" else "neck" for name in LSP.joints][::-1]
    points = [[20 + 2 * k, 30 + 3 * k, 1] for k in range(14)]
    points[5] = [0, 0, 0]
    sample = {"file_name": "a.png", "width": 80, "height": 100, "keypoints": points}
    lonely = sample | {"keypoints": [[0, 0, 0]] * 13 + [[5, 5, 1]]}
    (tmp_path / "a.json").write_text(
        json.dumps({"keypoint_names": names, "samples": [sample, lonely]})
    )
    people = read_lsp(tmp_path / "a.json", tmp_path)
    assert len(people) == 1
    assert people.problems[0].kind == "fewer than two labelled joints"
    assert_allclose(
        people.keypoints[0, LSP.joints.index("head_top")], [20 + 2 * names.index("head_top"), 30]
    )
    assert people.visibility[0, LSP.joints.index(names[5])] == 0
    width, height = 26, 39  # extent of the joints
    assert_allclose(
        people.boxes[0],
        [33 - 0.6 * width, 49.5 - 0.6 * height, 33 + 0.6 * width, 49.5 + 0.6 * height],
    )


def test_read_mpii(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 80, 3), np.uint8))
    joints = [
        {"x": 11.0 + k, "y": 21.0 + 2 * k, "id": k, "is_visible": k % 2}
        for k in range(16)
        if k != 7
    ]
    person = {"annopoints": {"point": joints}, "scale": 2.0}
    photo = {"image": {"name": "a.png"}, "annorect": [person, person]}
    test_photo = {"image": {"name": "b.png"}, "annorect": person}
    release = {"annolist": [photo, test_photo], "img_train": [1, 0]}
    scipy_io.savemat(tmp_path / "mpii.mat", {"RELEASE": release})
    people = read_mpii(tmp_path / "mpii.mat", tmp_path)
    assert (len(people), people.problems) == (2, ())
    assert_allclose(people.keypoints[0, 3], [13, 26])  # MATLAB counts from 1
    assert_array_equal(people.visibility[0, :8], [1, 2, 1, 2, 1, 2, 1, 0])


def test_mpii_has_one_frame_in_both_files(tmp_path):
    """The same person from MATLAB's file and from the usual JSON; both count pixels from 1."""
    scipy_io = pytest.importorskip("scipy.io")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 80, 3), np.uint8))
    corner = {"x": 1.0, "y": 1.0, "id": 0, "is_visible": 1}  # the first pixel
    joints = [corner, *({"x": 11.0 + k, "y": 21.0, "id": k, "is_visible": 1} for k in range(1, 16))]
    person = {"annopoints": {"point": joints}, "scale": 2.0, "objpos": {"x": 31.0, "y": 41.0}}
    nobody = {"scale": 1.0, "objpos": {"x": 1.0, "y": 1.0}}
    heads = [{"x1": 5, "y1": 5, "x2": 35, "y2": 45}, {}]
    photo = {"image": {"name": "a.png"}, "annorect": [person | heads[0], person | nobody]}
    empty = {"image": {"name": "b.png"}, "annorect": []}
    release = {"annolist": [photo, empty], "img_train": [1, 1]}
    scipy_io.savemat(tmp_path / "mpii.mat", {"RELEASE": release})
    plain = {"image": "a.png", "scale": 2.0, "center": [31.0, 41.0], "joints_vis": [1] * 16}
    plain["joints"] = [[joint["x"], joint["y"]] for joint in joints]
    (tmp_path / "mpii.json").write_text(json.dumps([plain]))
    matlab, usual = (
        mpii_files.read_mpii_people(tmp_path / name)[0] for name in ("mpii.mat", "mpii.json")
    )
    assert_allclose(matlab.joints[:, :2], usual.joints[:, :2])
    assert_allclose(matlab.joints[0, :2], 0)
    assert matlab.center == usual.center == (30, 40)
    assert (matlab.head, usual.head) == (pytest.approx(0.6 * 50), 50)
    first, second = (read_mpii(tmp_path / name, tmp_path) for name in ("mpii.mat", "mpii.json"))
    assert_allclose(first.keypoints[0], second.keypoints[0])
    assert_allclose(first.boxes[0], second.boxes[0])


def test_union_masks_joints_that_a_set_lacks(tmp_path):
    first = read_coco(*write_set(tmp_path / "a", COCO), COCO)
    second = read_coco(*write_set(tmp_path / "b", LSP, seed=1), LSP)
    both = union([first, second], COCO)
    assert (len(both), len(both.images)) == (12, 6)
    assert both.images[both.image_index[6]] == second.images[0]
    nose, ankle = COCO.joints.index("nose"), COCO.joints.index("left_ankle")
    assert not both.visibility[6:, nose].any()
    assert_array_equal(
        both.visibility[6:, ankle], second.visibility[:, LSP.joints.index("left_ankle")]
    )
    assert_allclose(both.keypoints[6:, ankle], second.keypoints[:, LSP.joints.index("left_ankle")])
    with pytest.raises(DataError, match="at least one"):
        union([], COCO)
    alien = replace(second, skeleton=replace(LSP, joints=tuple(f"j{k}" for k in range(14))))
    with pytest.raises(DataError, match="no joint in common"):
        union([alien], COCO)


def test_persons_check_their_shapes(tmp_path):
    people = read_coco(*write_set(tmp_path, COCO), COCO)
    with pytest.raises(ValueError, match="visibility of 6 people"):
        replace(people, visibility=people.visibility[:2])
    with pytest.raises(ValueError, match="exactly the labelled joints"):
        replace(people, visibility=np.zeros_like(people.visibility))


def test_packed_crops_show_what_the_map_says(tmp_path):
    people = read_coco(*write_set(tmp_path, COCO), COCO)
    spec = CropSpec((64, 48), growth=1.3, margin=1.5)
    packed = pack(people, spec, tmp_path / "cache")
    assert packed.crops.shape == (6, 96, 72, 3)
    assert_allclose(
        packed.keypoints[4], affine.apply(packed.image_to_stored[4], people.keypoints[4]), rtol=1e-5
    )
    # The true box lies in the middle and fills 1 / (growth * margin) of the crop on one axis or
    # both.
    centers = (packed.boxes[:, :2] + packed.boxes[:, 2:]) / 2
    assert_allclose(centers, np.tile([36, 48], (6, 1)), atol=1e-3)
    share = (packed.boxes[:, 2:] - packed.boxes[:, :2]) / [72, 96]
    assert_allclose(share.max(axis=1), 1 / 1.95, rtol=1e-4)
    image = read_rgb(people.images[people.image_index[4]])
    for point, stored in zip(people.keypoints[4], packed.keypoints[4], strict=True):
        if np.isfinite(point).all():
            (x, y), (u, v) = np.round(point).astype(int), np.round(stored).astype(int)
            assert np.abs(image[y, x].astype(int) - packed.crops[4, v, u].astype(int)).max() < 60


def test_cache_is_found_again_and_never_stale(tmp_path):
    annotations, photos = write_set(tmp_path, COCO)
    people, cache = read_coco(annotations, photos, COCO), tmp_path / "cache"
    first = pack(people, CropSpec((64, 48)), cache)
    before = (first.folder / "crops.npy").stat().st_mtime_ns
    assert (
        pack(people, CropSpec((64, 48)), cache).folder / "crops.npy"
    ).stat().st_mtime_ns == before
    others = {
        pack(people, CropSpec((64, 48), margin=1.2), cache).folder,
        pack(people[:3], CropSpec((64, 48)), cache).folder,
    }
    cv2.imwrite(str(people.images[0]), np.zeros((120, 160, 3), np.uint8))
    others.add(pack(people, CropSpec((64, 48)), cache).folder)
    assert len(others | {first.folder}) == 4


def test_two_runs_may_store_the_same_people_at_once(tmp_path):
    people, cache = read_coco(*write_set(tmp_path, COCO), COCO), tmp_path / "cache"
    started = []

    def progress(done, total):
        if not started:
            started.append(pack(people, CropSpec((64, 48)), cache))

    second = pack(people, CropSpec((64, 48)), cache, progress)
    assert second.folder == started[0].folder
    assert_array_equal(second.crops, started[0].crops)
    assert list(cache.iterdir()) == [second.folder]


def test_a_broken_image_leaves_no_half_cache(tmp_path):
    annotations, photos = write_set(tmp_path, COCO)
    (photos / "0002.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"0002\.png"):
        pack(read_coco(annotations, photos, COCO), CropSpec((64, 48)), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_open_data_excludes_and_reports(tmp_path):
    annotations, photos = write_set(tmp_path, COCO)
    (tmp_path / "exclude.txt").write_text("# comment\n0000.png\n\n")
    assert read_names(tmp_path / "exclude.txt") == {"0000.png"}
    edit(annotations, lambda d: d["annotations"][5].update(keypoints=[0] * 51))
    lines: list[str] = []
    sets = (SetConfig(annotations, photos),)
    config = DataConfig(
        sets, exclude=tmp_path / "exclude.txt", cache=tmp_path / "cache", size=(64, 48)
    )
    assert (
        len(open_data(config, lines.append)) == 3
    )  # two in the excluded image, one without labels
    assert any("2 people left out" in line for line in lines)
    with_teacher = replace(config, teacher=tmp_path / "t.onnx", smallest_unlabelled=20.0)
    assert len(open_data(with_teacher, lines.append)) == 4
    with pytest.raises(ValueError, match="needs a teacher"):
        replace(config, smallest_unlabelled=20.0)


def test_unlisted_people_are_added_without_labels(tmp_path):
    """Confident unlisted boxes are added to their image; the rest of the set is unchanged."""
    people = read_coco(*write_set(tmp_path, COCO), COCO)
    one = people.boxes[people.image_index == 1][0]
    found = [
        Boxes.empty(),
        Boxes(
            [one + 2, [0, 100, 30, 119], [100, 0, 130, 12]], [0.9, 0.8, 0.2]
        ),  # listed, new, not sure
        Boxes([[1, 2, 30, 60]], [0.5]),
    ]
    more = add_unlisted(people, found)
    assert len(more) == len(people) + 2
    assert more.image_index[-2:].tolist() == [1, 2]
    assert_array_equal(more.boxes[-2:], [[0, 100, 30, 119], [1, 2, 30, 60]])
    assert (more.visibility[-2:] == 0).all()
    assert more.ids[-2:].tolist() == [NO_ID, NO_ID]
    assert_array_equal(more[: len(people)].keypoints, people.keypoints)
    assert len(add_unlisted(people, [Boxes.empty()] * 3)) == len(people)


def test_a_labeller_finds_whom_a_set_does_not_list(tmp_path):
    annotations, photos = write_set(tmp_path, COCO)
    # Input 64x64 of a photo 160 wide: this person lies in the lower left corner, beside the two
    # that are listed.
    detector = yolox_model(tmp_path, [(4, 40, 8, 16, 1.0, 0.9)])
    sets = (SetConfig(annotations, photos, complete=False),)
    about = {
        "cache": tmp_path / "cache",
        "size": (64, 48),
        "teacher": tmp_path / "t.onnx",
        "smallest_unlabelled": 4.0,
    }
    with pytest.raises(ValueError, match="needs a labeller"):
        DataConfig(sets, **about)
    config = DataConfig(sets, labeller=detector, **about)
    lines: list[str] = []
    packed = open_data(config, lines.append)
    assert len(packed) == 6 + 3
    assert any("3 unlisted people added" in line for line in lines)
    assert_allclose(packed.people.boxes[-1], [0, 80, 20, 120], atol=1)
    (kept,) = (tmp_path / "cache").glob("people-*.npz")
    written = kept.stat().st_mtime_ns
    assert len(open_data(config, lines.append)) == 9
    assert kept.stat().st_mtime_ns == written


def test_shared_sets_open_clean(data_root):
    people = read_coco(
        data_root / "data/coco-train/annotations.json", data_root / "data/coco-train/images", COCO
    )
    dev = read_names(ROOT / "configs/dev.txt")
    assert len(dev) == 250
    assert isinstance(people, PersonSet)
    assert len(people.problems) == 4  # four boxes less than a pixel wide
    assert len(people) - len(people.without_images(dev)) == 306
    lsp = read_lsp(data_root / "data/lspet/annotations.json", data_root / "data/lspet/images")
    assert (len(lsp), len(lsp.problems)) == (6500, 3)


def photo(seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Soft blobs, so that it has low frequencies as photos have."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def test_near_copies_have_near_hashes(tmp_path):
    """Scaled, stretched, compressed, mirrored, slightly cut: near. Another photo: far."""
    one = photo(1)
    cv2.imwrite(str(tmp_path / "a.jpg"), one, [cv2.IMWRITE_JPEG_QUALITY, 40])
    copies = [
        cv2.resize(one, (160, 120)), cv2.resize(one, (224, 224)), one[:, ::-1], one[4:-4, 5:-5],
        read_rgb(tmp_path / "a.jpg")[..., ::-1],
    ]  # fmt: skip
    hashed = photo_hashes(one)
    for copy in copies:
        assert (hashed != photo_hashes(np.ascontiguousarray(copy))[0]).sum(axis=1).min() <= NEAR
    distances = [
        (hashed != photo_hashes(photo(seed))[0]).sum(axis=1).min() for seed in range(2, 30)
    ]
    assert min(distances) > NEAR


def test_a_set_from_photos_that_nobody_labelled(tmp_path):
    """Whoever the detector is sure of, once, and nobody from a photo that is reported on."""
    for name, seed in (
        ("b/one.png", 1),
        ("two.png", 2),
        ("same.png", 2),
        ("held_out.png", 3),
        ("empty.png", 4),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), photo(seed))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    known = tmp_path / "known.jpg"
    cv2.imwrite(str(known), cv2.resize(photo(3), (224, 224)))
    empty = photo(4)[..., ::-1]

    def detector(image, name=""):
        if np.array_equal(image, empty):
            return Boxes.empty()
        return Boxes([[10, 20, 60, 120], [-5, 0, 40, 30], [100, 100, 150, 220]], [0.9, 0.8, 0.2])

    names = ["b/one.png", "broken.png", "empty.png", "held_out.png", "same.png", "two.png"]
    found = find_unlabelled(tmp_path, names, detector, [known])
    assert found.names == ("b/one.png", "same.png")
    assert list(found.left_out.values()) == [1, 1, 1, 1]
    (tmp_path / "set.json").write_text(json.dumps(found.to_coco()))
    people = read_coco(tmp_path / "set.json", tmp_path, COCO)
    assert_allclose(
        people.boxes, [[10, 20, 60, 120]] * 2
    )  # the second is too small, the third not sure
    assert not people.visibility.any()
    assert people.images[0] == tmp_path / "b/one.png"
    with pytest.raises(DataError, match="found nobody"):
        find_unlabelled(tmp_path, ["empty.png"], detector)
