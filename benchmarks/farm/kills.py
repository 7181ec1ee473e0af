"""What does a run on Ray survive? Kills at random moments, with real nets.

Two nodes of one core each on this machine. Again and again, at random moments: a node is killed
(SIGKILL to its raylet, workers and their children) and a new one joins; the driver is killed and
the same command is given again; a worker is stopped (SIGSTOP) for a while. Then: is any photo
missing or double, is any file half written, and is coco.json that of ``rmpe predict``?
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import pyarrow.parquet as parquet

from benchmarks.farm.runs import (
    checked,
    model_flags,
    same,
    some_photos,
    start,
    stop,
    two_nodes,
)
from benchmarks.options import benchmark
from benchmarks.record import show

KINDS = ("node killed", "driver killed", "worker stopped")
# Longer than any wait between two kills: a run that hangs is a failure of the benchmark.
LIMIT = 3000


def torment(run, cluster, wanted, every, pause):
    """Kill until each kind was done as often as wanted, and go on until the run is done."""
    done = Counter()
    deadline = time.monotonic() + LIMIT
    command = ("farm", "run", run, "--engine", "ray", "--address", cluster.address, "--quiet")
    driver = start(*command)
    next_kill = time.monotonic() + random.uniform(*every)
    while True:
        if time.monotonic() > deadline:
            driver.kill()
            raise click.ClickException(f"not done after {LIMIT} s; kills so far: {dict(done)}")
        if (status := driver.poll()) is not None:
            if status == 0:
                return done
            print(f"driver ended with status {status}: again", flush=True)
            driver = start(*command)
        left = [kind for kind in KINDS if done[kind] < wanted[kind]]
        if left and time.monotonic() > next_kill:
            kind = random.choice(left)
            parts = len(list(Path(run).glob("images-*")))
            print(f"{parts} parts are there: {kind}", flush=True)
            if kind == "node killed":
                cluster.kill_node(random.randrange(2))
            elif kind == "driver killed":
                driver.kill()
                driver.wait()
                driver = start(*command)
            elif workers := cluster.children():
                stop(random.choice(workers), pause)
            else:
                continue
            done[kind] += 1
            next_kill = time.monotonic() + random.uniform(*every)
        time.sleep(0.2)


@benchmark("data", "save")
@click.option("--photos", default=100, show_default=True)
@click.option("--kills", default=10, show_default=True, help="Of nodes, and of drivers.")
@click.option("--stops", default=1, show_default=True)
@click.option("--pause", default=60.0, show_default=True, help="Seconds of a stop.")
@click.option(
    "--every",
    nargs=2,
    type=float,
    default=(8.0, 25.0),
    show_default=True,
    help="Seconds between kills: least, most.",
)
@click.option("--seed", default=0, show_default=True)
def main(data, photos, kills, stops, pause, every, seed, save):
    random.seed(seed)
    flags = model_flags(data)
    wanted = dict(zip(KINDS, (kills, kills, stops), strict=True))
    with tempfile.TemporaryDirectory() as temporary, two_nodes() as cluster:
        root = Path(temporary)
        folder = some_photos(data, photos, root / "photos")
        predicted = root / "predicted"
        checked(
            "predict", folder, "--out", predicted, "--no-draw", "--quiet", "--threads", 1, *flags
        )
        done = Counter()
        wrong = Counter()
        runs = 0
        while any(done[kind] < wanted[kind] for kind in KINDS):
            runs += 1
            run = root / f"run{runs}"
            checked("farm", "plan", folder, "--out", run, "--shard", 4, *flags)
            left = {kind: wanted[kind] - done[kind] for kind in KINDS}
            done += torment(run, cluster, left, every, pause)
            names = [
                name
                for part in sorted(run.glob("images-*.parquet"))
                for name in parquet.read_table(part)["file"].to_pylist()
            ]
            merged = root / "merged"
            checked("farm", "merge", run, "--out", merged)
            wrong["missing"] += photos - len(set(names))
            wrong["double"] += len(names) - len(set(names))
            wrong["half"] += len(list(run.glob(".*.partial")))
            wrong["other"] += not same(merged / "coco.json", predicted / "coco.json")
            shutil.rmtree(merged)
    columns = ["runs", *KINDS, "photos missing", "photos double", "files half written"]
    columns.append("runs whose coco.json is not predict's")
    show(
        "farm-kills",
        save=save,
        title="Kills that a run on Ray has survived",
        data=f"coco-val ({photos} photos, shards of 4); YOLOX-nano and TinyPose",
        columns=columns,
        rows=[[
            runs, *(done[kind] for kind in KINDS),
            *(wrong[kind] for kind in ("missing", "double", "half", "other")),
        ]],
        notes=f"At random moments, {every[0]:.0f} to {every[1]:.0f} s apart; a stop lasts"
        f" {pause:.0f} s.",
    )  # fmt: skip


if __name__ == "__main__":
    main()
