"""What does `rmpe farm` cost beside `rmpe predict`, in CPU seconds?

The same photos with YOLOX-nano and TinyPose, one worker a core: by ``rmpe predict --threads 1``, by
``rmpe farm run`` with one process and with two, and by a Ray cluster of two nodes of one core each
on this machine (without the start of the cluster). Ray's CPU seconds are those of all its
processes, looked at twice a second. Each is also run on a quarter of the photos: the difference is
the cost of the further photos alone.
"""

import tempfile
import time
from pathlib import Path

import click
import psutil

from benchmarks.farm.runs import (
    Watched,
    checked,
    cpu_seconds,
    model_flags,
    same,
    some_photos,
    start,
    two_nodes,
)
from benchmarks.options import benchmark
from benchmarks.record import show

SHARD = 20


def on_ray(run, cluster):
    """CPU seconds of all of Ray's processes and the driver's, from its start to its end."""
    before = Watched()
    before.look(cluster.processes())
    watched = Watched()
    started = time.perf_counter()
    driver = start("farm", "run", run, "--engine", "ray", "--address", cluster.address, "--quiet")
    while driver.poll() is None:
        watched.look([*cluster.processes(), psutil.Process(driver.pid)])
        time.sleep(0.5)
    if driver.returncode:
        raise click.ClickException(f"the run on Ray failed with status {driver.returncode}")
    return watched.seconds - before.seconds, time.perf_counter() - started


def measure(data, photos, root, cluster):
    """One row an engine: CPU seconds, wall seconds, whether coco.json is predict's."""
    flags = model_flags(data)
    folder = some_photos(data, photos, root / "photos")
    out = root / "predicted"
    yield "rmpe predict", *cpu_seconds(
        "predict", folder, "--out", out, "--no-draw", "--quiet", "--threads", 1, *flags
    ), True  # fmt: skip
    engines = {
        "processes, 1 worker": lambda run: cpu_seconds("farm", "run", run, "--workers", 1),
        "processes, 2 workers": lambda run: cpu_seconds("farm", "run", run, "--workers", 2),
        "Ray, 2 nodes of 1 core": lambda run: on_ray(run, cluster),
    }
    for name, do in engines.items():
        run = root / name.replace(" ", "_")
        checked("farm", "plan", folder, "--out", run, "--shard", SHARD, *flags)
        cpu, wall = do(run)
        checked("farm", "merge", run, "--out", run / "merged")
        yield name, cpu, wall, same(run / "merged" / "coco.json", out / "coco.json")


@benchmark("data", "save")
@click.option("--photos", default=100, show_default=True)
def main(data, photos, save):
    few = photos // 4
    with tempfile.TemporaryDirectory() as root, two_nodes() as cluster:
        small = list(measure(data, few, Path(root) / "few", cluster))
        large = list(measure(data, photos, Path(root) / "many", cluster))
    rows = []
    for (name, cpu, wall, equal), (_, cpu_few, _, equal_few) in zip(large, small, strict=True):
        a_photo = (cpu - cpu_few) / (photos - few)
        rows.append([name, cpu, cpu / large[0][1], wall, a_photo, equal and equal_few])
    for row in rows:
        row.insert(5, row[4] / rows[0][4])
    show(
        "farm-cost",
        save=save,
        title="CPU seconds of rmpe farm",
        data=f"coco-val ({photos} photos, and {few}); YOLOX-nano and TinyPose",
        columns=[
            "engine",
            "CPU s",
            "times predict",
            "wall s",
            "CPU s a further photo",
            "times predict's",
            "coco.json is predict's",
        ],
        rows=rows,
        notes="Wall seconds say little where other work runs. The start of the"
        " cluster is not counted.",
    )


if __name__ == "__main__":
    main()
