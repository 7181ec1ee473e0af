"""Does the farm itself bear a million photos and 64 workers?

A million empty files in a thousand folders are planned, run by workers without models (one
process, and Ray with one core), and found to be done. Then workers that sleep a second a shard, in
1 to 64 processes of this machine: how many shards a second, once all have started?
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil

from benchmarks.farm.runs import PATIENCE, environment, model_flags, start
from benchmarks.options import benchmark
from benchmarks.record import show
from rmpe.farm.engines import on_processes

DRIVER = """
import resource, sys, time
from rmpe.farm.engines import on_processes, on_ray
from rmpe.farm.manifest import read_run
from rmpe.farm.parts import finished
from rmpe.farm.storage import open_storage
address, engine = sys.argv[1:]
started = time.perf_counter()
storage = open_storage(address)
run = read_run(storage)
todo = sorted(set(run.shards) - set(finished(storage.entries())))
decided = time.perf_counter() - started
stub = "benchmarks.farm.stub:Empty"
work = (on_ray(address, todo, 1, worker=stub) if engine == "ray"
        else on_processes(address, todo, 1, stub))
done = sum(1 for _ in work)
store = 0
if engine == "ray" and todo:
    import ray
    free = ray.available_resources().get("object_store_memory", 0)
    store = ray.cluster_resources()["object_store_memory"] - free
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(todo), done, decided, time.perf_counter() - started - decided, peak, store / 1e6)
"""


def many_files(folder, count):
    for number in range(count):
        if number % 1000 == 0:
            own = folder / f"{number // 1000:04}"
            own.mkdir(parents=True)
        os.close(os.open(own / f"{number:07}.jpg", os.O_CREAT | os.O_WRONLY))


def drive(run, engine):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(run), engine],
        env=environment() | PATIENCE, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return [float(word) for word in done.stdout.split()[-6:]]


def million(data, count, save):
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        many_files(root / "photos", count)
        started = time.perf_counter()
        process = start("farm", "plan", root / "photos", "--out", root / "run", *model_flags(data))
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise click.ClickException("the plan failed")
        rows.append(["plan", time.perf_counter() - started, usage.ru_utime + usage.ru_stime,
                     usage.ru_maxrss / 1024, None])  # fmt: skip
        for engine in ("processes", "ray"):
            shards, done, _, seconds, peak, store = drive(root / "run", engine)
            if not shards == done == -(-count // 200):
                raise click.ClickException(f"{engine}: {done} of {shards} shards")
            rows.append([f"{engine}: all shards, empty worker", seconds, None, peak,
                         store if engine == "ray" else None])  # fmt: skip
            left, _, decided, _, peak, _ = drive(root / "run", engine)
            assert left == 0
            if engine == "processes":
                rows.append(["decide what is left (nothing)", decided, None, peak, None])
                for mark in (root / "run").glob("images-*"):
                    mark.unlink()
    show(
        "farm-million",
        save=save,
        title=f"{count:,} photos in the manifest",
        data=f"{count:,} empty files in {count // 1000:,} folders; workers without models",
        columns=["step", "wall s", "CPU s", "peak MB", "object store MB"],
        rows=rows,
        notes="Peak memory is that of the command alone. Of the object store, what is taken at the"
        " end of the run. The machine was busy with other work.",
    )


def scaling(save):
    rows = []
    for workers in (1, 2, 4, 16, 64):
        shards = range(workers * 12)
        times = []
        for _ in on_processes("nowhere", shards, workers, "benchmarks.farm.stub:Sleeping"):
            times.append(time.perf_counter())
        # Rate of the middle half: all workers have started, none has run out of shards.
        first, last = len(times) // 4, 3 * len(times) // 4
        rows.append([workers, (last - first) / (times[last] - times[first])])
    for row in rows:
        row.append(row[1] / (row[0] * rows[0][1]))
    show(
        "farm-scaling",
        save=save,
        title="Shards a second with workers that sleep a second a shard",
        data="workers without models in processes of one machine",
        columns=["workers", "shards/s", "share of the ideal"],
        rows=rows,
        notes="A simulation: it measures what the run itself adds, not the nets.",
    )


@benchmark("data", "save")
@click.option("--photos", default=1_000_000, show_default=True)
@click.option("--only", type=click.Choice(["million", "scaling"]))
def main(data, photos, only, save):
    os.environ.update(environment())
    if only != "million":
        scaling(save)
    if only != "scaling":
        million(data, photos, save)
    assert not [child for child in psutil.Process().children() if "rmpe" in child.name()]


if __name__ == "__main__":
    main()
