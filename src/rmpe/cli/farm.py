"""``rmpe farm``: many photos and videos, on one machine or many."""

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import click

from rmpe.cli.commands import HelpfulGroup, Number, SectionCommand
from rmpe.cli.farm_progress import Progressed, shown, time_left
from rmpe.cli.output import only_run_in, remove_stale, terminated_as_interrupted
from rmpe.cli.pipeline_flags import FILE, pipeline_flags
from rmpe.cli.tracking_flags import tracking_flags, video_formats
from rmpe.errors import UsageError
from rmpe.farm import engines
from rmpe.farm.manifest import SHARD, Run, plan, read_run
from rmpe.farm.merge import check_formats, write_results
from rmpe.farm.parts import (
    IMAGES,
    Part,
    finished,
    given_up,
    name_of,
    read_errors,
    read_mark,
)
from rmpe.farm.storage import LocalStorage, Storage, open_storage
from rmpe.farm.work import Outcome
from rmpe.options import PipelineOptions
from rmpe.video import Following

# Failures that are printed; the rest is counted.
SHOWN = 100
# Seconds of the past that the rate of `rmpe farm status` is taken from.
RECENT = 600.0
# Marks that are read side by side.
READERS = 16
Engine = Literal["processes", "ray"]
DIR = click.argument("folder", metavar="DIR")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="As one JSON object.")


class Source(Protocol):
    """An engine: numbers of shards to their outcomes."""

    def __call__(self, shards: Sequence[int]) -> Iterator[Outcome]:
        """Do shards."""


@click.group(cls=HelpfulGroup, meant={"predict": "rmpe farm plan", "start": "rmpe farm run"})
def farm() -> None:
    """Photos and videos by the million: plan, run on one machine or many, merge."""


def _part(_context: click.Context, _option: click.Parameter, value: str | None) -> range | None:
    """``3/16`` as every 16th shard from the third on."""
    if value is None:
        return None
    number, _, count = value.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise click.BadParameter(f"{value!r} is not I/N, such as 3/16")
    if int(count) < 1:
        raise click.BadParameter(f"{value!r}: there must be at least one part")
    if not 1 <= int(number) <= int(count):
        raise click.BadParameter(
            f"{value!r}: parts are numbered from 1 to N, here from 1/{count} to {count}/{count}"
        )
    return range(int(number) - 1, sys.maxsize, int(count))


@farm.command("plan", cls=SectionCommand)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", required=True, metavar="DIR", help="Folder or address of the new run.")
@click.option(
    "--shard",
    type=click.IntRange(1),
    default=SHARD,
    show_default=True,
    help="Photos in a shard, rounded up to a multiple of 4.",
)
@click.option("--annotations", type=FILE, help="COCO file to take image ids from, by file name.")
@tracking_flags
@pipeline_flags(threads=False)
def plan_command(
    sources: tuple[str, ...],
    out: str,
    shard: int,
    annotations: Path | None,
    pipeline: PipelineOptions,
    following: Following,
) -> None:
    """List photos and videos, and cut them into shards of work.

    A SOURCE is a file, a folder with all its subfolders, a pattern, an address (s3://, gs://,
    hf://, https://), or - for a list on standard input. The models are chosen here, so that every
    machine uses the same.
    """
    storage = open_storage(out)
    pipeline = replace(pipeline, annotations=annotations)
    run = plan(sources, storage, pipeline, following, shard)
    unnamed = f" ({run.unnamed:,} not named in {annotations})" if run.unnamed else ""
    click.echo(
        f"{run.photos + run.unnamed:,} photos{unnamed} and {run.videos:,} videos in"
        f" {len(run.shards):,} shards"
    )
    click.echo(f"next: rmpe farm run {shlex.quote(out)}")


@farm.command("run")
@DIR
@click.option(
    "--engine",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="Processes of this machine, or a Ray cluster.",
)
@click.option(
    "--address",
    help="Ray: the cluster's address; auto for the one that this machine is part of.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="How many at a time; one a core if not given.",
)
@click.option("--gpus", type=Number(0), default=0.0, help="Ray: GPUs a worker, e.g. 0.5.")
@click.option(
    "--part",
    metavar="I/N",
    callback=_part,
    help="Only every Nth shard, from the Ith on: for job arrays. 1/16 to 16/16.",
)
@click.option("--retry-failed", is_flag=True, help="Also try the photos again that failed.")
@click.option("--quiet", is_flag=True, help="No progress, no summary; failures are still listed.")
def run_command(
    folder: str,
    engine: Engine,
    address: str | None,
    workers: int | None,
    gpus: float,
    part: range | None,
    retry_failed: bool,
    quiet: bool,
) -> None:
    """Do the shards of a run that are not done yet; the same line again goes on.

    Exit code: 0 all done, 1 some photos or shards failed (they are listed), 2 wrong use.
    """
    if engine == "processes" and (address or gpus):
        raise UsageError("--address and --gpus are for --engine ray")
    storage = open_storage(folder)
    run = read_run(storage)
    shards = list(run.shards if part is None else run.shards[part.start :: part.step])
    entries = storage.entries()
    done = [shard for shard in finished(entries) if shard in run.shards]
    if retry_failed:
        again = {mark.shard for mark in _marks(storage, done) if mark.failed} & set(shards)
        for shard in again:
            storage.remove(name_of(IMAGES, shard))
        done = [shard for shard in done if shard not in again]
    todo = sorted(set(shards) - set(done))
    if engine == "ray":
        work: Source = partial(
            engines.on_ray, storage.address, workers=workers, cluster=address, gpus=gpus
        )
    else:
        if workers is not None:
            engines.check_workers(workers)
        most = workers or (1 if part is not None else engines.default_workers())
        work = partial(engines.on_processes, storage.address, workers=max(1, min(most, len(todo))))
    _do(storage, run, shards, todo, work, quiet=quiet)


def _do(
    storage: Storage, run: Run, shards: list[int], todo: list[int], work: Source, *, quiet: bool
) -> None:
    """Do shards, show how far it is, and end with the list of what failed."""
    started = time.monotonic()
    earlier = sum(map(run.size, shards)) - sum(map(run.size, todo))
    progress = Progressed(sum(map(run.size, todo)))
    try:
        with terminated_as_interrupted(), shown(progress, earlier, quiet=quiet) as show:
            outcomes = work(todo)
            with closing(outcomes):  # type: ignore[type-var] # engines are generators
                for outcome in outcomes:
                    progress.add(outcome, run.size(outcome.shard))
                    show()
    except KeyboardInterrupt:
        click.echo(
            f"rmpe: stopped; go on with: rmpe farm run {shlex.quote(storage.address)}", err=True
        )
        sys.exit(1)
    entries = storage.entries()
    done = finished(entries)
    mine = [shard for shard in shards if shard in done]
    marks = _marks(storage, mine)
    failures = _failures(storage, marks)
    broken = {
        shard: reason
        for shard, reason in (given_up(storage, entries) | progress.given_up).items()
        if shard in shards and shard not in done
    }
    if isinstance(storage, LocalStorage) and len(done) == len(run.shards):
        storage.remove_scratch()
    _list(failures, broken, storage)
    if not quiet:
        seconds = time.monotonic() - started
        before = f" ({earlier:,} of them earlier)" if earlier else ""
        failed = f", {len(failures):,} failed" if failures else ""
        rate = f" ({progress.photos / seconds:.1f} photos/s)" if progress.photos else ""
        click.echo(
            f"{sum(mark.photos for mark in marks):,} {_what(run)}{before},"
            f" {sum(mark.people for mark in marks):,} people of any score{failed},"
            f" {seconds:.1f} s{rate}"
        )
        if len(done) == len(run.shards):
            click.echo(f"next: rmpe farm merge {shlex.quote(storage.address)} --out results")
    sys.exit(1 if failures or len(mine) < len(shards) else 0)


@farm.command("status")
@DIR
@click.option("--failed", is_flag=True, help="List everything that failed.")
@AS_JSON
def status_command(folder: str, failed: bool, as_json: bool) -> None:
    """How far a run is, from any machine that reaches DIR."""
    storage = open_storage(folder)
    run = read_run(storage)
    entries = storage.entries()
    done = {shard: entry for shard, entry in finished(entries).items() if shard in run.shards}
    marks = _marks(storage, list(done))
    now = time.time()
    recent = {shard: entry.written for shard, entry in done.items() if entry.written > now - RECENT}
    # The first recent shard was begun before the time that is looked at.
    first = min(recent.values(), default=now)
    counted = sum(run.size(shard) for shard, written in recent.items() if written > first)
    rate = counted / max(now - first, 1e-9)
    photos = run.photos + run.unnamed + run.videos
    left = photos - sum(map(run.size, done))
    summary = {
        "shards": len(run.shards),
        "shards_done": len(done),
        "photos": photos,
        "photos_done": photos - left,
        "people": sum(mark.people for mark in marks),
        "photos_failed": sum(mark.failed for mark in marks),
        "shards_failed": len(broken := given_up(storage, entries)),
        "photos_per_second": round(rate, 3),
        "seconds_left": round(left / rate) if rate and left else None,
    }
    if as_json:
        click.echo(json.dumps(summary))
    else:
        click.echo(
            f"{summary['photos_done']:,} of {photos:,} {_what(run)} ({len(done):,} of"
            f" {len(run.shards):,} shards), {summary['people']:,} people of any score,"
            f" {summary['photos_failed']:,} photos failed, {len(broken):,} shards failed"
        )
        if left:
            lately = f"in the last {RECENT / 60:.0f} minutes"
            click.echo(
                f"{rate:.1f} photos/s {lately}, {time_left(left, rate)} left"
                if counted
                else f"no rate yet: fewer than two shards {lately}"
            )
    if failed:
        _list(_failures(storage, marks), broken, storage, most=sys.maxsize)


@farm.command("merge")
@DIR
@click.option("--out", required=True, metavar="OUT", help="Folder or address for the result files.")
@video_formats
@click.option("--partial", is_flag=True, help="Also when some shards are not done.")
def merge_command(folder: str, out: str, formats: tuple[str, ...], partial: bool) -> None:
    """Make the files of rmpe predict from the photos, and in OUT/NAME those of each video."""
    storage = open_storage(folder)
    run = read_run(storage)
    check_formats(run, formats)
    done = sorted(shard for shard in finished(storage.entries()) if shard in run.shards)
    if len(done) < len(run.shards) and not partial:
        raise UsageError(
            f"{storage.address}: {len(run.shards) - len(done)} of {len(run.shards)} shards are not"
            f" done: rmpe farm run {storage.address}, or merge what is there with --partial"
        )
    with _local(out) as results:
        remove_stale(results)
        files, unwritten = write_results(storage, run, done, formats, results)
        for reason in unwritten:
            click.echo(f"failed: {reason}", err=True)
        for file in files:
            click.echo(f"results: {_named(file, results, out)}")
    sys.exit(1 if unwritten else 0)


@contextmanager
def _local(out: str) -> Iterator[Path]:
    """A folder to write to; what lies there afterwards is put where ``out`` says."""
    storage = open_storage(out)
    if isinstance(storage, LocalStorage):
        with only_run_in(Path(storage.address)):
            yield Path(storage.address)
        return
    with tempfile.TemporaryDirectory(prefix="rmpe-") as scratch:
        yield Path(scratch)
        for file in sorted(Path(scratch).rglob("*")):
            if file.is_file():
                storage.write(file.relative_to(scratch).as_posix(), file.read_bytes())


def _what(run: Run) -> str:
    """What a run counts."""
    return "photos and videos" if run.videos else "photos"


def _named(file: str, results: Path, out: str) -> str:
    """What the user calls a result."""
    return f"{out.rstrip('/')}/{Path(file).relative_to(results).as_posix()}"


def _marks(storage: Storage, shards: Sequence[int]) -> list[Part]:
    """The commit marks of shards."""
    with ThreadPoolExecutor(READERS, "rmpe-marks") as pool:
        return list(pool.map(partial(read_mark, storage), shards))


def _failures(storage: Storage, marks: Sequence[Part]) -> list[str]:
    """The reason of everything that failed in finished shards."""
    shards = [mark.shard for mark in sorted(marks, key=lambda mark: mark.shard) if mark.failed]
    return [reason for shard in shards for reason in read_errors(storage, shard)]


def _list(
    failures: Sequence[str],
    shards: Mapping[int, str],
    storage: Storage,
    *,
    most: int = SHOWN,
) -> None:
    for reason in failures[:most]:
        click.echo(f"failed: {reason}", err=True)
    if len(failures) > most:
        click.echo(
            f"and {len(failures) - most:,} more: rmpe farm status"
            f" {shlex.quote(storage.address)} --failed",
            err=True,
        )
    for shard, reason in sorted(shards.items()):
        click.echo(f"failed: shard {shard}: {reason}; the same command tries it again", err=True)
