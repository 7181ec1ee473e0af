"""How near the filters of ``rmpe kinematics`` come to a walker whose angles are known.

Three sizes, three noises, every filter; the joints lie at the truth plus normal noise.
"""

from dataclasses import replace

import numpy as np

from benchmarks.options import benchmark
from benchmarks.record import show
from rmpe.kinematics.cleaning import FILTERS, Cleaning
from rmpe.kinematics.measure import MeasureOptions, measure
from rmpe.kinematics.walker import Walker

HEIGHTS = (120, 300, 700)  # pixels
NOISES = (1, 2, 4)  # standard deviation in pixels
OUTLIERS = 0.01
LOST = 0.03
SEEDS = (0, 1, 2)
METRES = 1.75
COLUMNS = ["height, px", "noise, px", "filter", "angles, °", "knees, °", "joints, mm", "missing, %"]
RAW = Cleaning(filter="none", fill=0, outliers=0)
WAYS = {"as estimated": RAW} | {name: Cleaning(filter=name) for name in FILTERS}


def errors(walker: Walker, noise: float, cleaning: Cleaning) -> tuple[float, float, float, float]:
    """RMSE of all angles and of the knees (degrees), of joint centres (mm), share missing (%)."""
    truth = walker.angles()
    exact = measure(walker.track(), MeasureOptions(cleaning=RAW, height=METRES))
    angles = []
    knees = []
    centres = []
    missing = []
    for seed in SEEDS:
        track = walker.track(noise=noise, outliers=OUTLIERS, lost=LOST, seed=seed)
        found = measure(track, MeasureOptions(cleaning=cleaning))
        for name, values in truth.items():
            off = found.angles[name] - values
            off = (off + 180) % 360 - 180
            angles.append(off)
            if "knee" in name:
                knees.append(off)
        metres = exact.scale.metres_per_pixel
        centres.append(1000 * metres * (found.track.points - exact.track.points))
        missing.append(np.isnan(found.track.points[..., 0]).mean())
    return (
        rms(np.concatenate(angles)),
        rms(np.concatenate(knees)),
        rms(np.linalg.norm(np.concatenate(centres), axis=2)),
        100 * float(np.mean(missing)),
    )


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(values**2)))


@benchmark("save")
def main(save: bool) -> None:
    rows = []
    for height in HEIGHTS:
        walker = replace(Walker(), height=height)
        for noise in NOISES:
            for name, cleaning in WAYS.items():
                rows.append([height, noise, name, *errors(walker, noise, cleaning)])
    show(
        "kinematics-walker",
        save=save,
        title="A made walker: errors of angles and joints by filter",
        data=f"a made walker, {METRES} m, 30 frames a second, {len(SEEDS)} x 4 s",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"Root mean square errors. {100 * OUTLIERS:g} % of the joints are outliers up to a"
            f" fifth of the height away, {100 * LOST:g} % are lost. `none` takes outliers out and"
            " fills gaps, but does not smooth. The spline finds its smoothness itself; the"
            " Butterworth filter's cut-off is 6 Hz. The one-euro filter lags, which costs joints"
            " more than angles."
        ),
    )


if __name__ == "__main__":
    main()
