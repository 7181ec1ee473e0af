"""The SSTN's algebra: inverses, gradients, frames, families of maps, near-singular maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rmpe import affine

torch = pytest.importorskip("torch")
from torch.nn import functional as F

from rmpe.nets.sstn import (
    LOG_SCALE_LIMIT,
    MIN_AREA,
    MOTIONS,
    PARAMETERS,
    denormalise_points,
    invert_theta,
    normalise_points,
    sampling_grid,
    sdtn,
    sdtn_points,
    stn,
    theta_from_parameters,
    theta_loss,
    transform_points,
)

IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
thetas = arrays(np.float64, (2, 3), elements=st.floats(-2, 2)).filter(
    lambda t: abs(np.linalg.det(t[:, :2])) > 0.05
)


def random_theta(batch: int, spread: float = 0.3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 2, 3, generator=generator, dtype=torch.float64)
    return torch.tensor(IDENTITY, dtype=torch.float64) + spread * noise.clamp(-1, 1)


@settings(deadline=None)
@given(thetas, arrays(np.float64, (5, 2), elements=st.floats(-1, 1)))
def test_gamma_is_the_inverse(theta, points):
    theta, points = torch.from_numpy(theta)[None], torch.from_numpy(points)[None]
    gamma = invert_theta(theta)
    assert (transform_points(gamma, transform_points(theta, points)) - points).abs().max() < 1e-10
    assert (transform_points(theta, transform_points(gamma, points)) - points).abs().max() < 1e-10
    assert (invert_theta(gamma) - theta).abs().max() < 1e-10


@settings(deadline=None)
@given(thetas)
def test_gamma_equals_the_formula_of_the_paper(theta):
    """Eq. 3 and 4, computed by another library."""
    gamma = invert_theta(torch.from_numpy(theta)[None])[0].numpy()
    expected = np.linalg.inv(theta[:, :2])
    np.testing.assert_allclose(gamma[:, :2], expected, atol=1e-10)
    np.testing.assert_allclose(gamma[:, 2], -expected @ theta[:, 2], atol=1e-10)
    np.testing.assert_allclose(gamma, affine.invert(theta), atol=1e-10)


@settings(deadline=None)
@given(thetas, arrays(np.float64, (2, 3), elements=st.floats(-1, 1)))
def test_gradients_equal_equations_5_and_6(theta, upstream):
    """Compare with autograd in float64.

    M = dJ/dG - (dJ/dg3) b^T; dJ/dA = -G^T M G^T; dJ/db = -G^T dJ/dg3.
    """
    variable = torch.from_numpy(theta)[None].requires_grad_()
    gamma = invert_theta(variable)
    gamma.backward(torch.from_numpy(upstream)[None])
    G, b = np.linalg.inv(theta[:, :2]), theta[:, 2:]
    dG, dg3 = upstream[:, :2], upstream[:, 2:]
    scale = max(1.0, np.abs(G).max() ** 2)
    np.testing.assert_allclose(
        variable.grad[0, :, :2], -G.T @ (dG - dg3 @ b.T) @ G.T, atol=1e-10 * scale
    )
    np.testing.assert_allclose(variable.grad[0, :, 2:], -G.T @ dg3, atol=1e-10 * scale)


def test_gradcheck():
    theta = random_theta(2).requires_grad_()
    points = torch.rand(2, 3, 2, dtype=torch.float64) * 2 - 1
    assert torch.autograd.gradcheck(invert_theta, theta)
    assert torch.autograd.gradcheck(lambda t: sdtn_points(points, t, (8, 6)), theta)
    # Bilinear sampling has kinks at pixel centres, which random maps do not hit.
    images = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda i, t: stn(i, t, (4, 3)), (images, theta), eps=1e-7, atol=1e-5
    )
    assert torch.autograd.gradcheck(sdtn, (images, theta), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("motion", MOTIONS)
def test_gradcheck_of_every_family(motion):
    parameters = (0.3 * torch.randn(2, PARAMETERS[motion], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: theta_from_parameters(p, motion, 0.75), parameters)


@pytest.mark.parametrize(
    "linear",
    [
        pytest.param([[0.0, 0.0], [0.0, 0.0]], id="zero"),
        pytest.param([[1.0, 2.0], [2.0, 4.0]], id="rank one"),
        pytest.param([[1e-9, 0.0], [0.0, 1e-9]], id="tiny"),
        pytest.param([[1e-9, 0.0], [0.0, -1e-9]], id="tiny and mirrored"),
    ],
)
def test_near_singular_maps_stay_finite(linear):
    theta = torch.tensor([[[*linear[0], 0.3], [*linear[1], -0.2]]], requires_grad=True)
    heatmaps = sdtn(torch.rand(1, 2, 8, 6), theta)
    gamma = invert_theta(theta)
    (heatmaps.sum() + gamma.square().sum()).backward()
    for tensor in (heatmaps, gamma, theta.grad):
        assert torch.isfinite(tensor).all()


def test_the_inverse_is_exact_down_to_the_smallest_area():
    theta = torch.diag_embed(torch.full((1, 2), (1.01 * MIN_AREA) ** 0.5, dtype=torch.float64))
    theta = torch.cat([theta, torch.tensor([[[0.5], [-0.5]]], dtype=torch.float64)], dim=-1)
    points = torch.rand(1, 4, 2, dtype=torch.float64)
    assert (
        transform_points(invert_theta(theta), transform_points(theta, points)) - points
    ).abs().max() < 1e-10


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (7, 3)])
def test_grid_equals_torch(size):
    theta = random_theta(3)
    expected = F.affine_grid(theta, [3, 1, *size], align_corners=False)
    torch.testing.assert_close(sampling_grid(theta, size), expected, rtol=0, atol=1e-12)


def test_points_and_normalised_points_are_those_of_the_nouns():
    points, size = np.random.default_rng(0).uniform(0, 60, (2, 5, 2)), (64, 48)
    normalised = normalise_points(torch.from_numpy(points), size)
    np.testing.assert_allclose(
        normalised, affine.apply(affine.pixels_to_normalised(size), points), atol=1e-12
    )
    np.testing.assert_allclose(denormalise_points(normalised, size), points, atol=1e-12)


def test_identity_changes_nothing():
    images, theta = torch.rand(2, 3, 8, 6), torch.tensor([IDENTITY, IDENTITY])
    torch.testing.assert_close(stn(images, theta, (8, 6)), images, atol=1e-6, rtol=0)
    torch.testing.assert_close(sdtn(images, theta), images, atol=1e-6, rtol=0)


def test_empty_batch():
    theta = torch.zeros(0, 2, 3)
    assert stn(torch.zeros(0, 3, 8, 6), theta, (4, 3)).shape == (0, 3, 4, 3)
    assert sdtn_points(torch.zeros(0, 17, 2), theta, (8, 6)).shape == (0, 17, 2)


def test_batched_equals_single():
    images, theta = torch.rand(3, 2, 8, 6), random_theta(3).float()
    together = stn(images, theta, (8, 6))
    for index in range(3):
        one = slice(index, index + 1)
        torch.testing.assert_close(
            together[one], stn(images[one], theta[one], (8, 6)), rtol=0, atol=1e-6
        )


def test_the_stn_shows_what_theta_points_at():
    """A bright pixel moves by gamma; the SDTN of points and the SDTN of heatmaps map it back."""
    size = (32, 24)
    theta = torch.tensor([[[0.5, 0.0, 0.2], [0.0, 0.5, -0.1]]], dtype=torch.float64)
    y, x = np.mgrid[: size[0], : size[1]]
    blob = np.exp(-((x - 14) ** 2 + (y - 13) ** 2) / (2 * 2.0**2))
    centred = stn(torch.from_numpy(blob)[None, None], theta, size)
    row, column = np.unravel_index(int(centred[0, 0].argmax()), size)
    expected = denormalise_points(
        transform_points(
            invert_theta(theta), normalise_points(torch.tensor([[[14.0, 13.0]]]).double(), size)
        ),
        size,
    )
    assert np.abs(expected[0, 0].numpy() - [column, row]).max() <= 1
    back = sdtn_points(expected, theta, size)
    torch.testing.assert_close(
        back, torch.tensor([[[14.0, 13.0]]], dtype=torch.float64), atol=1e-10, rtol=0
    )
    returned = sdtn(centred, theta)
    assert np.unravel_index(int(returned[0, 0].argmax()), size) == (13, 14)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_zero_parameters_are_the_identity(motion, dtype):
    theta = theta_from_parameters(
        torch.zeros(2, PARAMETERS[motion], dtype=dtype), motion, aspect=0.75
    )
    assert theta.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
    assert theta.tolist() == [IDENTITY, IDENTITY]


@settings(deadline=None)
@given(st.floats(-0.7, 0.7), st.floats(-3, 3), st.floats(0.4, 2.5))
def test_a_similarity_keeps_shapes_in_pixels(log_scale, angle, aspect):
    """On a non-square crop, a rotation is conjugated by the aspect: circles stay circles."""
    size = (100, round(100 * aspect))
    parameters = torch.tensor([[log_scale, angle, 0.1, -0.2]], dtype=torch.float64)
    theta = theta_from_parameters(parameters, "similarity", size[1] / size[0])[0].numpy()
    to_pixels, to_normalised = affine.normalised_to_pixels(size), affine.pixels_to_normalised(size)
    linear = affine.compose(to_pixels, affine.compose(theta, to_normalised))[:, :2]
    scale = np.exp(log_scale)
    expected = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(linear, expected, atol=1e-10)


def test_zoom_is_what_takes_one_box_of_known_aspect_to_another():
    size = (256, 192)
    true, disturbed = np.array([40.0, 30, 130, 150]), np.array([20.0, 50, 140, 210])
    maps = affine.boxes_to_crops(np.stack([true, disturbed]), size, "center")
    centred_to_disturbed = affine.compose(maps[1], affine.invert(maps[0]))
    theta = affine.compose(
        affine.pixels_to_normalised(size),
        affine.compose(centred_to_disturbed, affine.normalised_to_pixels(size)),
    )
    parameters = torch.tensor([[np.log(theta[0, 0]), *theta[:, 2]]])
    np.testing.assert_allclose(
        theta_from_parameters(parameters, "zoom", 0.75)[0], theta, atol=1e-12
    )


def test_wild_parameters_stay_finite():
    theta = theta_from_parameters(torch.tensor([[1e4, 0.0, 0.0], [-1e4, 0.0, 0.0]]), "zoom", 1.0)
    assert torch.isfinite(invert_theta(theta)).all()
    np.testing.assert_allclose(
        theta[:, 0, 0], np.exp([LOG_SCALE_LIMIT, -LOG_SCALE_LIMIT]), rtol=1e-6
    )


def test_theta_loss():
    theta = torch.zeros(2, 2, 3)
    assert theta_loss(theta, theta) == 0
    assert theta_loss(theta, theta + 1.0) == pytest.approx(1.0 - 0.05 / 2)
    assert theta_loss(theta, theta + 0.01) == pytest.approx(0.01**2 / (2 * 0.05))
