import numpy as np

from rmpe.rounding import rounded_rows


def test_errors_of_weights_cancel_where_inputs_go_together():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 9, 3)) @ rng.normal(size=(2, 3, 400))
    inputs += 0.1 * rng.normal(size=inputs.shape)
    rows = rng.normal(size=(2, 5, 9))
    steps = np.full((2, 5), 0.2)
    squares = inputs @ inputs.swapaxes(1, 2)

    together = rounded_rows(rows.copy(), steps, squares, 64)
    alone = np.round(rows / steps[..., None])

    errors = [
        np.square((rows - one * steps[..., None]) @ inputs).mean() for one in (together, alone)
    ]
    assert errors[0] < errors[1] / 3
    assert np.array_equal(together, together.round())


def test_integers_stay_in_range_and_inputs_apart_change_nothing():
    rows = np.array([[[0.31, -9.0, 0.08]]])
    squares = np.eye(3)[None]
    assert rounded_rows(rows, np.array([[0.1]]), squares, 64).tolist() == [[[3.0, -64.0, 1.0]]]
