"""How seldom may the detector run in a real clip, and does the STN mend the boxes between?

Nobody has annotated pedestrians.mp4. The reference is what published models, YOLOX-nano and
TinyPose, find when they detect on every frame. The pipeline that ships is judged against it.
"""

import click
import numpy as np

from benchmarks.options import benchmark
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
from rmpe.media.video import Video
from rmpe.options import load

# People of the reference count from this mean score of their joints on, below which the trackers
# take what stands still for a thing (docs/video.md); the clip's tripod has 0.37. Poses of a lower
# score are not looked for at all.
SURE_PERSON = 0.45
LEAST = 0.1
# Joints of the reference below this score are not labelled.
SURE_JOINT = 0.3
# Frames of a block of the bootstrap: two seconds, longer than the rarest detections are apart.
BLOCK = 20


def reference(models, clip, frames):
    """What the reference finds in every frame, and who of it counts."""
    estimator = load(
        models / "yolox_nano.onnx",
        models / "tinypose_256x192.onnx",
        stn="none",
        threads=1,
        min_score=LEAST,
    )
    people = []
    sure = []
    with Video(clip) as video:
        for frame in video:
            found = estimator(frame.image)
            labelled = np.where(found.keypoint_scores >= SURE_JOINT, found.keypoint_scores, 0)
            people.append(found.replace(keypoint_scores=labelled))
            sure.append(found.keypoint_scores.mean(axis=1) >= SURE_PERSON)
            if frame.index + 1 >= frames:
                break
    return people, sure


@benchmark("data", "detector", "pose", "stn", "save")
@click.option(
    "--every", multiple=True, default=["1", "5", "10", "auto"], show_default=True, help="Intervals."
)
@click.option("--frames", default=400, show_default=True, help="Of the clip, from the first on.")
@CACHE
def main(data, detector, pose, stn, every, frames, cache, save):
    clip = data / "data" / "pedestrians.mp4"
    people, sure = kept(
        cache, lambda: reference(data / "models", clip, frames), "real", "reference", frames
    )
    estimators = load_ways(detector, pose, stn)
    models = models_of(estimators)
    runs = {}
    judged = {}
    for way, often in wanted(every):
        runs[way, often] = kept(
            cache,
            lambda way=way, often=often: run(estimators, [clip], way, often, frames),
            *("real", models, frames, way, often),
        )
        judged[way, often] = evaluate(people, runs[way, often].found, sure)
        print(f"{way}, every {often}: AP {100 * judged[way, often].figures['AP']:.1f}", flush=True)
    show(
        "detect-interval-real",
        save=save,
        title="Detecting only now and then in pedestrians.mp4",
        data=f"{len(people)} frames of pedestrians.mp4, 10 a second; {sum(map(sum, sure))} people",
        columns=COLUMNS,
        rows=list(rows_of(runs, judged, BLOCK)),
        notes=(
            "The reference is another model's answer, not the truth: what YOLOX-nano and TinyPose"
            f" find on every frame, people with a mean joint score of at least {SURE_PERSON} and"
            f" their joints of at least {SURE_JOINT}. Whoever it finds with less is ignored. AP is"
            f" how far the two agree. {NOTES} A block is {BLOCK} frames."
        ),
    )


if __name__ == "__main__":
    main()
