"""How seldom may the detector run? Speed and AP on made videos with known truth.

People cut out of photos move as stiff boards, or swing their limbs while the camera zooms and all
that moves blurs. Between detections people are looked for around their last poses: where they were
(the extent of the joints times 1.25), moved by optical flow, and moved and then corrected by the
STN.
"""

import tempfile
from pathlib import Path
from typing import get_args

import click

from benchmarks.options import benchmark
from benchmarks.people import folder as set_folder
from benchmarks.record import show
from benchmarks.video.carrying import (
    CACHE,
    COLUMNS,
    NOTES,
    evaluate,
    kept,
    load_ways,
    models_of,
    rows_of,
    run,
    wanted,
)
from benchmarks.video.cutouts import COCO, cutouts
from benchmarks.video.sequences import Motion, empty_photos, sequence
from benchmarks.video.trackers import scored
from rmpe.evaluation.matching import identity
from rmpe.media.video_writer import VideoWriter

# Frames of a block of the bootstrap: half a second, as long as `auto` may go without a detection.
BLOCK = 15
# Of each kind of motion: the record, its title and what its notes begin with.
KINDS = {
    "stiff": (
        "detect-interval",
        "Detecting only now and then: stiff boards",
        "People move as boards, so a box moves with them better than in real video.",
    ),
    "articulated": (
        "detect-interval-articulated",
        "Detecting only now and then: limbs that swing",
        (
            "People walk and swing their limbs, the camera zooms by 1.6 in or out, and half of the"
            " time from frame to frame is exposed, so whatever moves is blurred."
        ),
    ),
}


def make_video(path, frames, fps):
    """A clip on disk and the truth of its frames."""
    truth = []
    with VideoWriter(path, fps=fps, crf=14) as writer:
        for index, item in enumerate(frames):
            writer.write(item.image, index / fps)
            truth.append(item.truth)
    return truth


def identities(truths, found):
    """IDF1 over all videos."""
    total, start = identity.PeopleCounts(), 0
    for truth in truths:
        pairs = zip(truth, found[start : start + len(truth)], strict=True)
        total += identity.count_identities([scored(*pair) for pair in pairs], COCO.sigmas)
        start += len(truth)
    return total.figures()["IDF1"]


def measured(name, estimators, paths, truths, every, cache):
    """The rows of one kind of video, IDF1 last; ``name`` is all that decides the clips."""
    models = models_of(estimators)
    truth = [poses for many in truths for poses in many]
    runs = {}
    judged = {}
    for way, often in wanted(every):
        runs[way, often] = kept(
            cache,
            lambda way=way, often=often: run(estimators, paths, way, often),
            *(*name, models, way, often),
        )
        judged[way, often] = evaluate(truth, runs[way, often].found)
        ap = 100 * judged[way, often].figures["AP"]
        print(f"{name[0]}, {way}, every {often}: AP {ap:.1f}", flush=True)
    for row in rows_of(runs, judged, BLOCK):
        yield [*row, identities(truths, runs[row[0], row[1]].found)]


@benchmark("data", "detector", "pose", "stn", "save")
@click.option(
    "--motion",
    type=click.Choice(get_args(Motion)),
    multiple=True,
    default=get_args(Motion),
    show_default=True,
)
@click.option("--people", type=int, multiple=True, default=[4], show_default=True)
@click.option(
    "--every", multiple=True, default=["1", "5", "10", "auto"], show_default=True, help="Intervals."
)
@click.option("--videos", default=4, show_default=True)
@click.option("--fps", default=30, show_default=True)
@click.option("--seconds", default=1.0, show_default=True)
@CACHE
def main(data, detector, pose, stn, motion, people, every, videos, fps, seconds, cache, save):
    cut_out = cutouts(set_folder(data), 180, 60, 0)
    backgrounds = empty_photos(set_folder(data, "coco-train"), 30)
    estimators = load_ways(detector, pose, stn)
    for kind in motion:
        rows = []
        with tempfile.TemporaryDirectory() as temporary:
            for actors in people:
                paths = []
                truths = []
                for seed in range(200, 200 + videos):
                    name = (kind, actors, fps, seconds, seed)
                    path = (cache or Path(temporary)) / ("_".join(map(str, name)) + ".mp4")
                    scene = {"actors": actors, "fps": fps, "seconds": seconds, "motion": kind}
                    frames = sequence(cut_out, backgrounds, seed=seed, **scene)
                    truth = kept(cache, lambda p=path, f=frames: make_video(p, f, fps), *name)
                    paths.append(path)
                    truths.append(truth)
                name = (kind, actors, fps, seconds, videos)
                some = measured(name, estimators, paths, truths, every, cache)
                rows += [[actors, *row] for row in some]
        record, title, about = KINDS[kind]
        show(
            record,
            save=save,
            title=title,
            data=(
                f"{videos} videos of {seconds:g} s, {fps} frames a second, 1280x720, made from"
                " coco-val people"
            ),
            columns=["people", *COLUMNS, "IDF1"],
            rows=rows,
            notes=(
                f"{about} Who comes between two detections is not found before the next one, which"
                f" costs AP, the more the rarer the detections are. {NOTES} A block is {BLOCK}"
                " frames; there are few, so a difference speaks of these clips."
            ),
        )


if __name__ == "__main__":
    main()
