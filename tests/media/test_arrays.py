"""What counts as an image where one enters the package, and what is refused with which words."""

import copy
import io
import pickle
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from tiny_models import spot_pose_model, spots, yolox_model

import rmpe
from rmpe.errors import ImageError, ModelError, RmpeError
from rmpe.media.images import as_image, as_images, save_image

ROWS, COLUMNS = np.mgrid[:12, :16]
PICTURE = np.stack([COLUMNS * 15, ROWS * 20, 255 - COLUMNS * 4], axis=-1).astype(np.uint8)
GREY = np.repeat(PICTURE[..., :1], 3, axis=2)
ALPHA = np.dstack([PICTURE, PICTURE[..., :1]])


def png(picture=PICTURE):
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


KINDS = {
    "one pixel": (PICTURE[:1, :1], PICTURE[:1, :1]),
    "itself": (PICTURE, PICTURE),
    "bool": (PICTURE > 100, (PICTURE > 100) * np.uint8(255)),
    "int64": (PICTURE.astype(np.int64), PICTURE),
    "int16": (PICTURE.astype(np.int16), PICTURE),
    "uint16 of a sum": (PICTURE.astype(np.uint16), PICTURE),
    "uint16": (PICTURE.astype(np.uint16) * 257, PICTURE),
    "big-endian uint16": ((PICTURE.astype(np.uint16) * 257).astype(">u2"), PICTURE),
    "float32 to 1": (PICTURE.astype(np.float32) / 255, PICTURE),
    "float64 to 1": (PICTURE / 255, PICTURE),
    "float16 to 1": ((PICTURE / 255).astype(np.float16), PICTURE),
    "float with overshoot": (np.clip(PICTURE / 255, -0.01, 1) * 1.01 - 0.005, PICTURE),
    "float to 255": (PICTURE.astype(np.float32), PICTURE),
    "float to 255 with overshoot": (PICTURE.astype(np.float32) * 1.01 - 2, PICTURE),
    "black float": (np.zeros((5, 6, 3)), np.zeros((5, 6, 3), np.uint8)),
    "grey": (PICTURE[..., 0], GREY),
    "grey with an axis": (PICTURE[..., :1], GREY),
    "alpha": (ALPHA, PICTURE),
    "channels first": (PICTURE.transpose(2, 0, 1), PICTURE),
    "grey, channel first": (PICTURE[None, ..., 0], GREY),
    "not contiguous": (np.repeat(PICTURE, 2, axis=0)[::2], PICTURE),
    "mirrored view": (PICTURE[:, ::-1][:, ::-1], PICTURE),
    "read-only": (np.frombuffer(PICTURE.tobytes(), np.uint8).reshape(PICTURE.shape), PICTURE),
    "masked": (np.ma.masked_array(PICTURE), PICTURE),
    "bytes": (png(), PICTURE),
    "bytearray": (bytearray(png()), PICTURE),
    "memoryview": (memoryview(png()), PICTURE),
    "file object": (io.BytesIO(png()), PICTURE),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_meant_is_an_image(kind):
    given, expected = KINDS[kind]
    image = as_image(given)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= (3 if "overshoot" in kind else 0)


def test_an_image_is_not_copied():
    assert as_image(PICTURE) is PICTURE or np.shares_memory(as_image(PICTURE), PICTURE)


@pytest.mark.parametrize("wrap", [str, lambda path: path, lambda path: path.open("rb")])
def test_a_file_by_any_handle(tmp_path, wrap):
    path = tmp_path / "a b.png"
    path.write_bytes(png())
    assert np.array_equal(as_image(wrap(path)), PICTURE)
    assert np.array_equal(rmpe.read_image(wrap(path)), PICTURE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (PICTURE[..., ::-1], PICTURE),
        (np.ascontiguousarray(PICTURE[..., ::-1]), PICTURE),
        (cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGRA), PICTURE),
        (PICTURE[..., ::-1].transpose(2, 0, 1), PICTURE),
        (PICTURE[..., 0], GREY),
        (png(), PICTURE),  # a file knows its colours
    ],
)
def test_bgr_arrays(given, expected):
    assert np.array_equal(as_image(given, "bgr"), expected)


@pytest.mark.parametrize(
    "convert",
    [
        lambda torch, it: it,
        lambda torch, it: it.permute(2, 0, 1),
        lambda torch, it: it.permute(2, 0, 1).float() / 255,
        lambda torch, it: (it / 255).requires_grad_(),
        lambda torch, it: it.to(torch.int64),
        lambda torch, it: it.double(),
    ],
)
def test_torch_tensors(convert):
    torch = pytest.importorskip("torch")
    given = convert(torch, torch.from_numpy(PICTURE.copy()))
    assert np.abs(as_image(given).astype(int) - PICTURE).max() == 0


def test_torch_half_precision():
    torch = pytest.importorskip("torch")
    given = (torch.from_numpy(PICTURE.copy()) / 255).to(torch.bfloat16)
    assert np.abs(as_image(given).astype(int) - PICTURE).max() <= 1


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("RGB", PICTURE),
        ("RGBA", PICTURE),
        ("L", GREY),
        ("LA", GREY),
        ("1", GREY // 255 * 255),
        ("I;16", GREY),
        ("CMYK", PICTURE),
    ],
)
def test_pillow_images(mode, expected):
    pillow = pytest.importorskip("PIL.Image")
    if mode == "I;16":
        picture = pillow.fromarray(GREY[..., 0].astype(np.uint16) * 257)
    elif mode == "1":
        picture = pillow.fromarray(GREY[..., 0] == 255)
    elif mode in {"L", "LA"}:
        picture = pillow.fromarray(GREY[..., 0]).convert(mode)
    else:
        picture = pillow.fromarray(PICTURE).convert(mode)
    assert np.abs(as_image(picture).astype(int) - expected).max() <= 1
    assert np.array_equal(as_image(picture, "bgr"), as_image(picture))


def test_a_pillow_file_that_breaks_off_is_one_error():
    pillow = pytest.importorskip("PIL.Image")
    with pytest.raises(ImageError, match="Pillow image cannot be read"):
        as_image(pillow.open(io.BytesIO(png(np.tile(PICTURE, (9, 9, 1)))[:200])))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"this is None; was the file read\?"),
        (PICTURE[:0, :0], r"this is uint8 \(0, 0, 3\): empty"),
        (PICTURE[:, :0], "empty"),
        (np.zeros((0, 0)), "empty"),
        (np.zeros(0), r"float64 \(0,\)"),
        (7, "this is int"),
        (np.float64(7), r"float64 \(\)"),
        ({"image": PICTURE}, "this is dict"),
        ([[1, 2], [3, 4]], "this is list"),
        (
            PICTURE[None],
            r"uint8 \(1, 12, 16, 3\): a batch; pass a list of its images, list\(batch\)",
        ),
        (PICTURE[None, None], r"uint8 \(1, 1, 12, 16, 3\)$"),
        (PICTURE[..., :2], r"\(12, 16, 2\): neither its last nor its first axis holds"),
        (np.zeros((12, 16, 5), np.uint8), "neither its last nor its first axis"),
        (PICTURE.astype(complex), "complex128"),
        (PICTURE.astype(object), r"object \(12, 16, 3\); convert it with"),
        (np.array("photo.jpg"), "<U9"),
        (PICTURE.astype(np.int32) * 300, r"int32 .* values from 0 to 7.*; scale it to 0\.\.255"),
        (PICTURE.astype(np.int32) - 128, "values from -128"),
        (PICTURE / 127.5 - 1, r"from -1 to 1; floating-point pixels lie in 0\.\.1 or 0\.\.255"),
        ((PICTURE / 255 - 0.45) / 0.225, "undo a normalisation"),
        (PICTURE * 257.0, "floating-point pixels"),
        (np.where(ROWS == 3, np.nan, 0.5), "from nan to nan"),
        (np.where(ROWS == 3, np.inf, 0.5), "to inf"),
        ("no such photo.jpg", "no such photo.jpg: cannot read the file"),
        ("zero\0character.jpg", "cannot read the file"),
        (b"", r"image in memory \(0 bytes\): the file is empty"),
        (b"hello", r"image in memory \(5 bytes\): not an image of a known kind"),
        (io.BytesIO(b"hello"), "not an image of a known kind"),
        (io.StringIO("hello"), "opened as text"),
    ],
)
@pytest.mark.parametrize("door", ["as_image", "draw_poses", "estimator"])
def test_what_cannot_be_meant_is_one_line(tmp_path, given, message, door):
    skeleton = rmpe.load_skeleton("coco17")
    doors: dict[str, Callable] = {
        "as_image": as_image,
        "draw_poses": lambda image: rmpe.draw_poses(image, rmpe.Poses.empty(skeleton)),
        "estimator": rmpe.Estimator(rmpe.detect.WholeImage(), NeverAsked()),
    }
    if isinstance(given, io.BytesIO):
        given.seek(0)
    if door == "estimator" and isinstance(given, list):
        message = "image 0 of the list: .*this is list"
    with pytest.raises(ImageError, match=message) as caught:
        doors[door](given)
    assert "\n" not in str(caught.value)
    if not isinstance(given, str | bytes | io.BytesIO | io.StringIO) and given is not None:
        with pytest.raises(ImageError):
            save_image(tmp_path / "no.png", given)
    assert not list(tmp_path.iterdir())


class NeverAsked:
    """A pose model that must not see what is not an image."""

    skeleton = None


@pytest.mark.parametrize("value", [0.5, 127.5])
def test_a_grey_float_picture_is_saved_grey(tmp_path, value):
    save_image(tmp_path / "float.png", np.full((4, 6, 3), value, np.float32))
    assert rmpe.read_image(tmp_path / "float.png").mean() == 128


def test_too_wide_for_jpeg_is_said(tmp_path):
    with pytest.raises(RmpeError, match="70000 x 1 pixels do not fit into this format"):
        save_image(tmp_path / "wide.jpg", np.zeros((1, 70_000, 3), np.uint8))


def test_drawing_on_bgr_gives_bgr():
    skeleton = rmpe.load_skeleton("coco17")
    drawn = rmpe.draw_poses(PICTURE[..., ::-1], rmpe.Poses.empty(skeleton), color="bgr")
    assert np.array_equal(drawn, PICTURE[..., ::-1])


def test_an_error_in_a_list_says_which():
    assert list(as_images([])) == []
    with pytest.raises(ImageError, match=r"image 1 of the list: .*None"):
        list(as_images([PICTURE, None]))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return yolox_model(folder, [(32, 32, 30, 40, 1, 0.9)]), spot_pose_model(folder)


PHOTO = spots((64, 64), [(25, 20), (40, 30), (32, 45)], 2.0)


def test_the_estimator_answers_alike_whatever_the_kind(models, tmp_path):
    estimator = rmpe.load(*models)
    want = estimator(PHOTO)
    assert len(want) == 1
    path = tmp_path / "photo.png"
    save_image(path, PHOTO)
    for given in (path, str(path), path.read_bytes(), PHOTO / 255, PHOTO.transpose(2, 0, 1)):
        np.testing.assert_allclose(estimator(given).keypoints, want.keypoints, atol=0.01)
    assert estimator([]) == []
    for several in ([PHOTO, path], (PHOTO, PHOTO / 255)):
        answers = estimator(several)
        assert isinstance(answers, list)
        for answer in answers:
            np.testing.assert_allclose(answer.keypoints, want.keypoints, atol=0.01)


def test_the_estimator_knows_bgr(models):
    want = rmpe.load(*models)(PHOTO)
    np.testing.assert_array_equal(
        rmpe.load(*models, color="bgr")(PHOTO[..., ::-1]).keypoints, want.keypoints
    )
    with pytest.raises(RmpeError, match="color is 'gbr'; known: rgb, bgr"):
        rmpe.load(*models, color="gbr")


def test_the_estimator_pickles(models):
    estimator = rmpe.load(*models, min_score=0.1, threads=1)
    want = estimator(PHOTO)
    for again in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        np.testing.assert_array_equal(again(PHOTO).keypoints, want.keypoints)
        assert again.min_score == 0.1
        assert again.pose.card == estimator.pose.card


def test_a_pickle_whose_model_is_gone_says_so(models, tmp_path):
    moved = tmp_path / "model.onnx"
    moved.write_bytes(models[1].read_bytes())
    moved.with_suffix(".toml").write_text(models[1].with_suffix(".toml").read_text())
    data = pickle.dumps(rmpe.load(models[0], moved))
    moved.unlink()
    with pytest.raises(ModelError, match="no such model file"):
        pickle.loads(data)


def test_public_names_are_listed():
    assert set(rmpe.__all__) <= set(dir(rmpe))


NOBODY = rmpe.Poses.empty(rmpe.load_skeleton("coco17"))


class Blind:
    """Stands for an estimator that is never asked."""

    color = "rgb"
    workers = 1

    def estimate(self, image, boxes):
        raise AssertionError


def track(source, **options):
    return lambda: list(rmpe.track(Blind(), source, **options))


# What no function takes: a call, and what its one line says.
STRANGE = {
    "save to None": (lambda: save_image(None, PICTURE), "None: not the path of a file"),
    "save to a number": (lambda: save_image(5, PICTURE), "5: not the path of a file"),
    "save to a zero": (lambda: save_image("a\0.png", PICTURE), "not the path of a file"),
    "read None": (lambda: rmpe.read_image(None), "this is None"),
    "read a number": (lambda: rmpe.read_image(3), "this is int"),
    "read an array": (lambda: rmpe.read_image(PICTURE), "a picture already"),
    "draw nobody": (lambda: rmpe.draw_poses(PICTURE, None), "this is None"),
    "draw a list": (lambda: rmpe.draw_poses(PICTURE, []), "list; draw those of each image"),
    "load a number": (lambda: rmpe.load(5), "detector = 5 is not a name"),
    "load a list": (lambda: rmpe.load(pose=["a"]), r"pose = \['a'\] is not a name"),
    "threads as text": (lambda: rmpe.load(threads="2"), "threads = '2' is not a whole number"),
    "half a batch": (lambda: rmpe.load(batch=0.5), "batch = 0.5 is not a whole number"),
    "workers as text": (lambda: rmpe.load(workers="2"), "workers = '2' is not a whole number"),
    "score as text": (lambda: rmpe.load(min_score="a"), "min_score = 'a' is not a number"),
    "no score": (lambda: rmpe.load(min_score=None), "min_score = None is not a number"),
    "card of bytes": (lambda: rmpe.load(card=b"a"), "card = b'a' is not a path"),
    "draw with a word": (
        lambda: rmpe.draw_poses(PICTURE, NOBODY, style="bold"),
        "style is a DrawStyle, this is str",
    ),
    "draw from text on": (
        lambda: rmpe.draw_poses(PICTURE, NOBODY, min_score="a"),
        "min_score = 'a' is not a number",
    ),
    "quality of 1000": (
        lambda: save_image("a.jpg", PICTURE, quality=1000),
        "quality = 1000 is not a whole number",
    ),
    "no skeleton": (lambda: rmpe.load_skeleton(None), "a name or a .toml file, not nothing"),
    "no file of poses": (lambda: rmpe.from_coco(None), "read from a file, not from nothing"),
    "stream of one": (lambda: list(rmpe.stream(None, "a.jpg")), r"pass a list of them, \['a.jpg'"),
    "stream of pictures": (
        lambda: list(rmpe.stream(Blind(), [PICTURE])),
        "paths are files, this is numpy.ndarray",
    ),
    "track nothing": (track(None), "this is NoneType|this is None"),
    "track a number": (track(5), "this is int"),
    "track bytes": (track(b"abc"), "this is bytes: write it to a file"),
    "track a file": (track(io.BytesIO(b"abc")), "write it to a file"),
    "track one picture": (track(PICTURE), r"\(12, 16, 3\): one picture; pass a list of frames"),
    "track the wrong way round": (
        lambda: list(rmpe.track("clip.mp4", "clip.mp4")),
        r"what rmpe.load returns, this is str; rmpe.track\(estimator, source\)",
    ),
    "detect now and then": (track([PICTURE], detect_every="a"), "detect_every = 'a' is neither"),
    "detect never": (track([PICTURE], detect_every=0), "detect_every = 0 is neither"),
    "detect by halves": (track([PICTURE], detect_every=2.5), "detect_every = 2.5 is neither"),
    "nms as a number": (lambda: rmpe.load(nms=3), "nms = 3 is not a name"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_arguments_are_one_line(kind):
    call, message = STRANGE[kind]
    with pytest.raises(RmpeError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda torch: torch.zeros(4, 4, 3).to_sparse(),
        lambda torch: torch.empty(4, 4, 3, device="meta"),
    ],
)
def test_tensors_without_plain_values(make):
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageError, match=r"a tensor torch.float32 \(4, 4, 3\) that NumPy cannot"):
        as_image(make(torch))


# Pictures whose range nobody knows would come out black.
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PICTURE.astype(np.uint16) * 16, "fewer than 16 bits"),
        (PICTURE.astype(np.uint16) * 4, "fewer than 16 bits"),
        (PICTURE / 127.5, "0..1 or 0..255"),
        (PICTURE / 25.5, "0..1 or 0..255"),
    ],
)
def test_ranges_that_nobody_knows_are_refused(given, message):
    with pytest.raises(ImageError, match=message):
        as_image(given)


def test_a_dark_picture_of_whole_floats_is_one():
    dark = (PICTURE // 20).astype(np.float32)
    assert np.array_equal(as_image(dark), PICTURE // 20)
