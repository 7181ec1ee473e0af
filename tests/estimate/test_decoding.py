"""Heatmap and SimCC decoding, compared with published outputs and exact values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmpe.affine import apply, boxes_to_crops, crop_to_heatmap, invert
from rmpe.estimate.heatmaps import decode_argmax, decode_dark, decode_integral, peaks
from rmpe.estimate.simcc import decode_simcc
from rmpe.propose.regions import grow_proposals

CROP, HEATMAP = (256, 192), (64, 48)


def to_image(points, image_to_crop):
    return apply(
        invert(image_to_crop), apply(invert(crop_to_heatmap(CROP, HEATMAP, "corner")), points)
    )


@pytest.fixture(scope="module")
def cases(parity):
    file = np.load(parity / "heatmap_decode.npz")
    return [
        {key.split("_", 1)[1]: file[key] for key in file.files if key.startswith(f"c{number:03d}_")}
        | {"kind": str(kind)}
        for number, kind in enumerate(file["kinds"])
    ]


def test_crops_equal_the_published_ones(cases):
    for case in cases:
        grown = grow_proposals(case["person_box"][None].astype(np.float32), 1.25)
        image_to_crop = boxes_to_crops(grown, CROP, "corner")[0]
        np.testing.assert_allclose(
            image_to_crop[:, :2], case["affine_crop"][:, :2], rtol=1e-4, atol=1e-7
        )
        np.testing.assert_allclose(image_to_crop[:, 2], case["affine_crop"][:, 2], atol=0.02)
        crop_box = apply(invert(image_to_crop), [[0, 0], [192, 256]]).ravel()
        np.testing.assert_allclose(crop_box, case["crop_box"], atol=1e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_argmax_equals_the_published_one(cases, flip):
    compared = 0
    for case in cases:
        if flip and "hmflip256" not in case:
            continue
        heatmaps = case["hm256"].astype(np.float32) / 256
        if flip:
            heatmaps = (heatmaps + case["hmflip256"].astype(np.float32) / 256) / 2
        points, scores = decode_argmax(heatmaps[None])
        image_to_crop = boxes_to_crops(case["crop_box"], CROP, "corner")
        key = "avg_argmax" if flip else "argmax"
        np.testing.assert_allclose(to_image(points[0], image_to_crop), case[f"{key}_xy"], atol=2e-3)
        np.testing.assert_array_equal(scores[0], case[f"{key}_score"].ravel())
        compared += 1
    assert compared >= (2 if flip else 12)


@pytest.mark.parametrize(
    ("normalise", "key"), [("sigmoid", "sigmoid"), ("softmax", "softmax"), ("sum", "divide_sum")]
)
def test_integral_equals_the_published_one(cases, normalise, key):
    for case in cases:
        raw = case["hm256"].astype(np.float32) / 256
        with np.errstate(invalid="ignore", divide="ignore"):
            points, scores = decode_integral(
                (raw if normalise == "sum" else 16 * raw - 8)[None], normalise
            )
        expected = case[f"{key}_xy"]
        defined = np.isfinite(expected).all(axis=1)
        if normalise == "sum":
            defined &= (raw.sum(axis=(1, 2)) > 0) & (raw.min(axis=(1, 2)) >= 0)
        image_to_crop = boxes_to_crops(case["crop_box"], CROP, "corner")
        found = to_image(points[0], image_to_crop)
        np.testing.assert_allclose(found[defined], expected[defined], atol=2e-3)
        if normalise == "sigmoid":
            np.testing.assert_allclose(scores[0], case["sigmoid_score"].ravel(), atol=1e-5)


def test_averaged_sigmoid_equals_the_published_one(cases):
    compared = 0
    for case in cases:
        if "hmflip256" in case:
            both = np.stack([case["hm256"], case["hmflip256"]]).astype(np.float32) / 256
            points, scores = decode_integral(16 * both - 8, "sigmoid")
            image_to_crop = boxes_to_crops(case["crop_box"], CROP, "corner")
            np.testing.assert_allclose(
                to_image(points, image_to_crop).mean(axis=0), case["avg_sigmoid_xy"], atol=2e-3
            )
            np.testing.assert_allclose(
                scores.mean(axis=0), case["avg_sigmoid_score"].ravel(), atol=1e-5
            )
            compared += 1
    assert compared >= 2


def gaussians(centers, size, sigma, height=0.9):
    y, x = np.mgrid[: size[0], : size[1]]
    squared = (x - centers[:, 0, None, None]) ** 2 + (y - centers[:, 1, None, None]) ** 2
    return (height * np.exp(-squared / (2 * sigma**2))).astype(np.float32)[None]


@given(
    st.floats(3, 43),
    st.floats(3, 59),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    st.sampled_from([0, 3, 5]),
    st.floats(0.05, 1.0),
)
def test_dark_is_exact_on_a_gaussian(x, y, sigma, blur, height):
    points, scores = decode_dark(gaussians(np.array([[x, y]]), (64, 48), sigma, height), blur)
    np.testing.assert_allclose(points[0, 0], [x, y], atol=0.02)
    assert 0 < scores[0, 0] <= height


@pytest.mark.parametrize("decode", [decode_argmax, decode_dark, lambda maps: decode_dark(maps, 11)])
def test_many_people_equal_one_at_a_time(decode):
    maps = np.random.default_rng(0).uniform(0, 1, (5, 17, 16, 12)).astype(np.float32)
    points, scores = decode(maps)
    for person in range(5):
        alone, alone_scores = decode(maps[person : person + 1])
        np.testing.assert_array_equal(points[person], alone[0])
        np.testing.assert_array_equal(scores[person], alone_scores[0])
    empty, _ = decode(maps[:0])
    assert empty.shape == (0, 17, 2)


@pytest.mark.parametrize("cell", [(0, 0), (47, 63), (0, 30), (20, 63), (47, 0)])
@pytest.mark.parametrize("decode", [decode_argmax, decode_dark, lambda maps: decode_dark(maps, 11)])
def test_peaks_on_the_border_stay_inside(decode, cell):
    points, _ = decode(gaussians(np.array([cell], float), (64, 48), 2.0))
    np.testing.assert_allclose(points[0, 0], cell, atol=0.5)
    assert np.all((points >= -0.5) & (points <= [47.5, 63.5]))


def test_flat_maps_have_no_joint():
    points, scores = decode_dark(np.zeros((1, 1, 8, 8), np.float32))
    assert np.isfinite(points).all()
    assert scores[0, 0] == 0


def test_the_first_of_equal_peaks_counts():
    maps = np.zeros((1, 1, 4, 5), np.float32)
    maps[0, 0, 2, 3] = maps[0, 0, 1, 4] = 1
    assert peaks(maps)[0].tolist() == [[[4, 1]]]


@given(st.integers(0, 191), st.integers(0, 255), st.sampled_from([1.0, 2.0, 3.0]))
def test_simcc_is_exact(x, y, split):
    bins_x, bins_y = (
        np.zeros((1, 1, int(192 * split)), np.float32),
        np.zeros((1, 1, int(256 * split)), np.float32),
    )
    bins_x[0, 0, int(x * split)], bins_y[0, 0, int(y * split)] = 0.7, 0.4
    points, scores = decode_simcc(bins_x, bins_y, split)
    np.testing.assert_allclose(points[0, 0], [x, y])
    assert scores[0, 0] == pytest.approx(0.4)


def test_simcc_without_a_response_scores_zero():
    _, scores = decode_simcc(np.full((1, 1, 8), -1, np.float32), np.ones((1, 1, 8), np.float32), 2)
    assert scores[0, 0] == 0


def test_unknown_normalisation_names_the_known_ones():
    with pytest.raises(ValueError, match="sigmoid, softmax or sum"):
        decode_integral(np.zeros((1, 1, 2, 2), np.float32), "max")
