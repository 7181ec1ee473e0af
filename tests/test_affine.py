"""The conventions of docs/conventions.md: maps, inverses and frames."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmpe import affine

coordinate = st.floats(-2000, 2000)
side = st.floats(1, 3000)
sizes = st.sampled_from([(256, 192), (192, 144), (128, 96), (64, 64), (32, 48)])
alignments = st.sampled_from(affine.ALIGNMENTS)


@given(coordinate, coordinate, side, side, sizes, alignments)
def test_crop_and_back_is_the_identity(x, y, w, h, size, alignment):
    image_to_crop = affine.boxes_to_crops([[x, y, x + w, y + h]], size, alignment)
    points = np.array([[[x, y], [x + w, y + h], [x + w / 3, y + h / 7]]])
    back = affine.apply(affine.invert(image_to_crop), affine.apply(image_to_crop, points))
    np.testing.assert_allclose(back, points, atol=1e-9 * (1 + abs(points).max()))


@given(coordinate, coordinate, side, side, sizes, alignments)
def test_the_centre_of_a_box_is_the_centre_of_its_crop(x, y, w, h, size, alignment):
    image_to_crop = affine.boxes_to_crops([[x, y, x + w, y + h]], size, alignment)
    center = np.array([[[x + w / 2, y + h / 2]]])
    height, width = size
    expected = {
        "corner": (width / 2, height / 2),
        "udp": ((width - 1) / 2, (height - 1) / 2),
        # The box's frame has its origin at the outer edge of the first pixel.
        "center": (
            width / 2 - 0.5 + 0.5 * image_to_crop[0, 0, 0],
            height / 2 - 0.5 + 0.5 * image_to_crop[0, 1, 1],
        ),
    }[alignment]
    np.testing.assert_allclose(affine.apply(image_to_crop, center)[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("alignment", affine.ALIGNMENTS)
@pytest.mark.parametrize("heatmap", [(64, 48), (32, 24), (256, 192)])
def test_heatmap_and_back_is_the_identity(alignment, heatmap):
    crop_to_heatmap = affine.crop_to_heatmap((256, 192), heatmap, alignment)
    points = np.array([[0.0, 0.0], [191, 255], [17.5, 230.25]])
    np.testing.assert_allclose(
        affine.apply(affine.invert(crop_to_heatmap), affine.apply(crop_to_heatmap, points)),
        points,
        atol=1e-12,
    )


@given(sizes)
def test_normalised_edges_are_outer_pixel_edges(size):
    height, width = size
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    np.testing.assert_allclose(
        affine.apply(affine.pixels_to_normalised(size), corners), [[-1, -1], [1, 1]], atol=1e-12
    )
    both = affine.compose(affine.normalised_to_pixels(size), affine.pixels_to_normalised(size))
    np.testing.assert_allclose(both, [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_center_alignment_of_crop_and_heatmap_agree_in_normalised_coordinates():
    crop, heatmap = (256, 192), (64, 48)
    point = np.array([[13.0, 200.0]])
    in_crop = affine.apply(affine.pixels_to_normalised(crop), point)
    in_heatmap = affine.apply(
        affine.pixels_to_normalised(heatmap),
        affine.apply(affine.crop_to_heatmap(crop, heatmap, "center"), point),
    )
    np.testing.assert_allclose(in_crop, in_heatmap, atol=1e-12)


@pytest.mark.parametrize("alignment", affine.ALIGNMENTS)
def test_warped_pixels_land_where_the_map_says(alignment):
    image = np.zeros((200, 300), np.float32)
    image[80:83, 120:123] = 1  # centre of mass at pixel (121, 81)
    image_to_crop = affine.boxes_to_crops([90, 40, 150, 120], (256, 192), alignment)
    crop = cv2.warpAffine(image, image_to_crop, (192, 256), flags=cv2.INTER_LINEAR)
    y, x = np.mgrid[:256, :192]
    found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    np.testing.assert_allclose(found, affine.apply(image_to_crop, [[121, 81]])[0], atol=0.02)


def test_compose_applies_the_second_argument_first():
    a_to_b = affine.scale_translate([2.0, 3.0], [1.0, -1.0])
    b_to_c = np.array([[0.0, -1.0, 5.0], [1.0, 0.0, 2.0]])
    point = np.array([[4.0, 7.0]])
    np.testing.assert_allclose(
        affine.apply(affine.compose(b_to_c, a_to_b), point),
        affine.apply(b_to_c, affine.apply(a_to_b, point)),
    )


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 3)), [[1, 1, 0], [1, 1, 5]], [[np.nan, 0, 0], [0, 1, 0]]]
)
def test_singular_maps_are_refused(matrix):
    with pytest.raises(ValueError, match="cannot be inverted"):
        affine.invert(np.array(matrix, np.float64))


@pytest.mark.parametrize(
    "box",
    [[5, 5, 5, 5], [10, 0, 5, 20], [0, 0, np.nan, 5], [0, 0, np.inf, 5]],
    ids=["point", "turned", "nan", "inf"],
)
def test_boxes_without_area_cannot_be_cropped(box):
    with pytest.raises(ValueError, match="empty box"):
        affine.boxes_to_crops([box], (256, 192), "corner")


def test_unknown_alignment_names_the_known_ones():
    with pytest.raises(ValueError, match="corner, udp, center"):
        affine.boxes_to_crops([[0, 0, 1, 1]], (4, 4), "middle")


@given(coordinate, coordinate, side, side, st.floats(0.2, 5))
def test_padding_to_an_aspect_keeps_the_centre_and_never_shrinks(x, y, w, h, aspect):
    box = np.array([x, y, x + w, y + h])
    padded = affine.pad_to_aspect(box, aspect)
    sides = padded[2:] - padded[:2]
    np.testing.assert_allclose(sides[0] / sides[1], aspect, rtol=1e-6)
    np.testing.assert_allclose((padded[:2] + padded[2:]) / 2, (box[:2] + box[2:]) / 2, atol=1e-6)
    assert np.all(sides >= (box[2:] - box[:2]) - 1e-6)
