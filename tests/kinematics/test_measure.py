"""Known movements come back as known angles, lengths and metres."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from rmpe.errors import DataError, UsageError
from rmpe.kinematics.angles import DEFINITIONS, facing
from rmpe.kinematics.cleaning import (
    FILTERS,
    Cleaning,
    butterworth,
    clean,
    fill_gaps,
    hampel,
    median,
)
from rmpe.kinematics.measure import MeasureOptions, measure
from rmpe.kinematics.scale import KnownLength, Scale, floor_line, standing_height
from rmpe.kinematics.spline import smooth
from rmpe.kinematics.tracks import runs
from rmpe.kinematics.walker import Walker

NOTHING = Cleaning(filter="none", fill=0, outliers=0, min_score=0)


@pytest.mark.parametrize("height", [100, 250, 600])
@pytest.mark.parametrize("side", [1, -1])
def test_every_angle_of_a_walker_comes_back(height, side):
    walker = Walker(height=height, facing=side)
    found = measure(walker.track(), MeasureOptions(cleaning=NOTHING))
    assert set(found.angles) == {definition.name for definition in DEFINITIONS}
    for name, truth in walker.angles().items():
        assert np.allclose(found.angles[name], truth, atol=1e-6), name
    assert set(found.facing) == {side}


def test_speeds_are_the_changes_of_the_angles():
    walker = Walker(fps=200)
    found = measure(walker.track(), MeasureOptions(cleaning=NOTHING))
    phase = 2 * np.pi * walker.cadence
    truth = -21 * phase * np.sin(phase * walker.times())
    assert np.allclose(found.speeds["left_hip"][1:-1], truth[1:-1], atol=0.1)


def test_speeds_and_angles_go_on_through_half_a_turn():
    walker = Walker(seconds=2)
    track = walker.track()
    turning = np.radians(90 + 60 * walker.times() * 2)  # the arm goes once over the head
    shoulder = track.skeleton.joints.index("left_shoulder")
    elbow = track.skeleton.joints.index("left_elbow")
    points = track.points.copy()
    points[:, elbow] = points[:, shoulder] + 50 * np.stack(
        [np.sin(turning), np.cos(turning)], axis=1
    )
    found = measure(replace(track, points=points), MeasureOptions(cleaning=NOTHING))
    assert np.abs(np.diff(found.angles["left_shoulder"])).max() < 10


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_leaves_a_resting_joint_where_it_is(name):
    track = Walker(seconds=1).track()
    still = replace(track, points=np.tile(track.points[:1], (len(track), 1, 1)))
    found = clean(still, Cleaning(filter=name))
    assert np.allclose(found.points, still.points, atol=1e-3)
    assert not found.filled.any() and not found.outliers.any()


@pytest.mark.parametrize("name", ["spline", "butterworth", "median"])
def test_smoothing_brings_noisy_angles_nearer_to_the_truth(name):
    walker = Walker(height=200)
    track = walker.track(noise=2)
    error = {
        kind: np.mean(
            [
                np.sqrt(
                    np.nanmean(
                        (measure(track, MeasureOptions(cleaning=how)).angles[key] - truth) ** 2
                    )
                )
                for key, truth in walker.angles().items()
            ]
        )
        for kind, how in (("raw", NOTHING), ("smooth", Cleaning(filter=name)))
    }
    assert error["smooth"] < 0.9 * error["raw"]


def test_the_butterworth_filter_has_three_decibels_at_its_cutoff_and_no_lag():
    seconds = np.arange(1000) / 100
    wave = np.sin(2 * np.pi * 6 * seconds)
    smooth = butterworth(wave, seconds, 6.0)
    middle = slice(200, 800)
    gain = smooth[middle] @ wave[middle] / (wave[middle] @ wave[middle])
    assert gain == pytest.approx(2**-0.5, abs=0.005)
    assert np.allclose(smooth[middle], gain * wave[middle], atol=0.01)


def test_uneven_times_are_filtered_in_time_not_in_frames():
    generator = np.random.default_rng(0)
    seconds = np.sort(generator.uniform(0, 4, 200))
    slow = np.sin(2 * np.pi * seconds)
    assert np.abs(butterworth(slow, seconds, 6.0) - slow)[10:-10].max() < 0.05


@pytest.mark.parametrize(("fps", "height", "noise"), [(10, 61, 1.2), (30, 120, 4), (30, 700, 1)])
def test_the_spline_is_nearer_to_the_truth_than_any_cutoff_of_the_butterworth_filter(
    fps, height, noise
):
    """Without being told size, noise or frame rate; most of the movement is still there."""
    walker = Walker(fps=fps, height=height, seconds=8, cadence=0.7)
    track = walker.track(noise=noise, outliers=0.02, lost=0.03, seed=5)
    ways = [Cleaning(filter="spline")]
    ways += [Cleaning(filter="butterworth", cutoff=cut) for cut in (1.5, 2, 3, 4.5)]
    ways += [Cleaning(filter="butterworth", cutoff=cut) for cut in (6, 9) if cut < fps / 2]
    error = []
    for way in ways:
        found = measure(track, MeasureOptions(cleaning=way)).angles
        off = [(found[key] - truth + 180) % 360 - 180 for key, truth in walker.angles().items()]
        error.append(np.sqrt(np.nanmean(np.square(off))))
    assert error[0] < min(error[1:])
    found = measure(track, MeasureOptions(cleaning=ways[0])).angles
    for key in ("left_knee", "right_hip"):
        change, true = np.nanstd(np.diff(found[key])), np.std(np.diff(walker.angles()[key]))
        assert 0.7 * true < change < 1.3 * true


def wave(seconds):
    """Two joints that swing slowly."""
    one = np.stack([50 * np.sin(2 * np.pi * 0.8 * seconds), 20 * seconds], axis=1)
    return np.stack([one, one[:, ::-1]], axis=1)


@pytest.mark.parametrize("uneven", [False, True])
def test_the_spline_smooths_in_time_and_weighs_by_score(uneven):
    generator = np.random.default_rng(2)
    seconds = np.sort(generator.uniform(0, 8, 240)) if uneven else np.arange(240) / 30
    truth = wave(seconds)
    scores = np.where(generator.random((240, 2)) < 0.5, 0.9, 0.1)
    noise = generator.normal(0, 1, truth.shape) / np.sqrt(scores)[..., None]
    found = smooth(truth + noise, scores, seconds, 0.2)
    blind = smooth(truth + noise, np.full((240, 2), 0.5), seconds, 0.2)
    rms = [np.sqrt(np.mean((one - truth) ** 2)) for one in (truth + noise, blind, found)]
    assert rms[2] < 0.9 * rms[1] < 0.5 * rms[0]


@pytest.mark.parametrize(
    ("missing", "longest", "filled"),
    [
        (slice(0, 0), 0.2, 0),
        (slice(50, 53), 0.2, 3),
        (slice(50, 70), 0.2, 0),
        (slice(0, 5), 1.0, 0),
        (slice(95, 100), 1.0, 0),
        (slice(3, 100), 0.2, 0),  # too few to smooth
    ],
)
def test_the_spline_fills_short_gaps_and_smooths_across_no_other(missing, longest, filled):
    seconds = np.arange(100) / 20
    points = wave(seconds)
    points[70:, 1] += 500  # the other side of a long gap is elsewhere
    given = points.copy()
    given[missing] = np.nan
    found = smooth(given, np.ones((100, 2)), seconds, longest)
    there = np.isfinite(found).all(axis=(1, 2))
    assert there.sum() == np.isfinite(given).all(axis=(1, 2)).sum() + filled
    assert np.allclose(found[there][:, 0], points[there][:, 0], atol=1.0)
    if missing == slice(50, 70):
        assert np.allclose(found[there][:, 1], points[there][:, 1], atol=1.0)


def test_the_spline_takes_outliers_out_by_itself():
    seconds = np.arange(120) / 30
    points = wave(seconds) + np.random.default_rng(3).normal(0, 0.5, (120, 2, 2))
    points[[20, 21, 60, 119]] += [40, -30]
    found = smooth(points, np.ones((120, 2)), seconds, 0.2)
    assert np.abs(found - wave(seconds))[:115].max() < 3


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", FILTERS)
def test_short_runs_are_no_failure(count, name):
    track = Walker().track()
    cut = track.between(0, (count - 0.5) / track.fps) if count else track.between(99, None)
    assert len(cut) == count
    assert clean(cut, Cleaning(filter=name)).points.shape == (count, 26, 2)


@pytest.mark.parametrize(
    ("missing", "longest", "filled"),
    [
        ((), 1.0, ()),
        ((4,), 0.1, (4,)),
        ((4, 5), 0.1, ()),
        ((4, 5), 0.2, (4, 5)),
        ((4, 6, 7, 8), 0.1, (4,)),
        ((0, 1), 1.0, ()),  # before the first
        ((18, 19), 1.0, ()),  # after the last
        ((4,), 0.0, ()),
    ],
)
def test_only_short_gaps_inside_are_filled(missing, longest, filled):
    seconds = np.arange(20) / 10
    truth = np.stack([3 * seconds, 5 - seconds], axis=1)[:, None]
    points = truth.copy()
    points[list(missing)] = np.nan
    found = fill_gaps(points, seconds, longest)
    assert set(np.flatnonzero(np.isfinite(found[:, 0, 0]))) == set(range(20)) - set(missing) | set(
        filled
    )
    assert np.allclose(found[list(filled)], truth[list(filled)])


@pytest.mark.parametrize("at", [0, 1, 10, 18, 19])
@pytest.mark.parametrize("speed", [0, 3, 40])
def test_an_outlier_is_found_whatever_the_speed_and_nothing_else(at, speed):
    generator = np.random.default_rng(1)
    points = speed * np.arange(20)[:, None, None] + generator.normal(0, 1, (20, 1, 2))
    points[at, 0, 0] += 60
    assert np.flatnonzero(hampel(points, 5, 6.0)).tolist() == [at]


def test_hampel_of_nothing():
    assert hampel(np.zeros((0, 3, 2)), 5, 4).shape == (0, 3)
    assert not hampel(np.full((6, 3, 2), np.nan), 5, 4).any()


def test_median_takes_out_a_spike():
    values = np.arange(9.0)[:, None]
    spiked = values.copy()
    spiked[4] = 99
    assert np.allclose(median(spiked, 3)[[0, 1, 2, 6, 7, 8]], values[[0, 1, 2, 6, 7, 8]])
    assert median(spiked, 3).max() < 10


@pytest.mark.parametrize(
    ("mask", "expected"),
    [([], []), ([0, 0], []), ([1], [(0, 1)]), ([1, 1, 0, 1], [(0, 2), (3, 4)])],
)
def test_runs(mask, expected):
    assert [(run.start, run.stop) for run in runs(np.array(mask, bool))] == expected


def test_who_turns_round_faces_the_other_way():
    right = Walker(seconds=3).track()
    left = Walker(seconds=3, facing=-1).track()
    count = len(right)
    both = replace(
        right,
        frames=np.arange(2 * count),
        seconds=np.arange(2 * count) / right.fps,
        points=np.concatenate(
            [right.points, left.points + right.points[-1].mean(0) - left.points[0].mean(0)]
        ),
        scores=np.concatenate([right.scores, left.scores]),
        confidence=np.concatenate([right.confidence, left.confidence]),
    )
    side = facing(both)
    assert np.count_nonzero(np.diff(side)) == 1
    assert abs(int(np.flatnonzero(np.diff(side))[0]) - count) < 15


@pytest.mark.parametrize("slope", [0.0, 0.05, -0.1])
@pytest.mark.parametrize("side", [1, -1])
def test_the_floor_lies_under_the_feet(slope, side):
    walker = Walker(slope=slope, facing=side)
    found, floor = floor_line(walker.track())
    assert found == pytest.approx(slope, abs=0.004)
    assert floor == pytest.approx(1.5 * walker.height, abs=0.02 * walker.height)


def test_metres_by_the_height_of_the_person():
    walker = Walker(height=350, metres=1.8)
    assert standing_height(walker.track()) == pytest.approx(350, rel=1e-6)
    found = measure(walker.track(), MeasureOptions(cleaning=NOTHING, height=1.8))
    assert found.scale.metres_per_pixel == pytest.approx(1.8 / 350)
    feet = found.places[:, [walker.track().skeleton.joints.index("left_heel")], 1]
    assert feet.min() == pytest.approx(0, abs=0.02)


def test_a_known_length_goes_before_the_height():
    length = KnownLength((0, 0), (30, 40), 0.5)
    track = Walker().track()
    found = measure(track, MeasureOptions(height=1.8, known_length=length))
    assert found.scale.metres_per_pixel == pytest.approx(0.01)


def test_scale_moves_pixels_to_the_floor():
    assert np.allclose(
        Scale(0.01, 0, 100).metres(np.array([[50.0, 100], [50, 0]])), [[0.5, 0], [0.5, 1]]
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cleaning(filter="kalman"), "choose one of"),
        (lambda: Cleaning(window=4), "odd"),
        (lambda: Cleaning(cutoff=0), "positive"),
        (
            lambda: clean(Walker(fps=10).track(), Cleaning(filter="butterworth")),
            "must be below 5 Hz",
        ),
        (lambda: measure(Walker().track(), MeasureOptions(height=175)), "in metres"),
        (lambda: KnownLength((0, 0), (0, 0), 1), "two different points"),
        (lambda: KnownLength((0, 0), (9, 0), -1), "two different points"),
    ],
)
def test_wrong_options_are_one_line(make, said):
    with pytest.raises(UsageError, match=said):
        make()


def test_a_height_without_legs_in_sight_is_one_line():
    track = Walker().track()
    points = track.points.copy()
    points[:, [track.skeleton.joints.index(f"{side}_ankle") for side in ("left", "right")]] = np.nan
    with pytest.raises(DataError, match="give --known-length"):
        measure(replace(track, points=points), MeasureOptions(height=1.8))
