"""The driver of all fuzzing: what is thrown at which door, in a process of its own that is watched.

A `Kind` is one door (a reader of one sort of file): seeds, how one is mutated, and what is done
with the result. `run` tries a group of kinds and counts what came of it. A try is settled by its
group, its number and the seed of the run, so that every fault can be repeated.
"""

import contextlib
import json
import os
import random
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
# Group -> function that makes its kinds; nothing is imported before the group is asked for.
GROUPS = {
    "json": "data_files:json_kinds",
    "toml": "data_files:toml_kinds",
    "exchange": "exchange_files:exchange_kinds",
    "safetensors": "checkpoints:kinds",
    "npz": "data_files:npz_kinds",
    "images": "media_files:image_kinds",
    "videos": "media_files:video_kinds",
    "onnx": "onnx_models:kinds",
}
READY = b'"ready"'
# What may become of a try. Only the first two are right.
OUTCOMES = ("read", "refused", "not one line", "traceback", "hang", "crash", "memory")
# Files are rewritten for every try: on a disk, that waits for the disk and takes ten times as long.
IN_MEMORY = Path("/dev/shm")
MEMORY = 1024.0  # MB that reading one small file may need, libraries included


@dataclass(frozen=True)
class Kind:
    """One door.

    Attributes:
        name: What to call it.
        seeds: Makes the sound inputs; called once a process.
        mutate: A broken input from one of them.
        consume: Gives the input to the door; the folder is the process's own and stays.
    """

    name: str
    seeds: Callable[[], Sequence[Any]]
    mutate: Callable[[random.Random, Any], bytes]
    consume: Callable[[Path, bytes], None]


@dataclass
class Count:
    """What became of the tries of one kind.

    Attributes:
        outcomes: How often each of `OUTCOMES` came.
        faults: A line for each fault of its own kind, and the number of its first try.
        seconds: Time spent.
        peak: Most memory of the process, MB.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    peak: float = 0.0

    def as_line(self, group: str, kind: str, seed: int) -> str:
        """The count as one JSON line."""
        counts = {outcome.replace(" ", "_"): self.outcomes[outcome] for outcome in OUTCOMES}
        head = {"group": group, "kind": kind, "seed": seed, "tries": self.outcomes.total()}
        tail = {"seconds": round(self.seconds, 1), "peak_mb": round(self.peak)}
        return json.dumps(head | counts | tail)


def kinds_of(group: str) -> list[Kind]:
    """The kinds of a group."""
    module, function = GROUPS[group].split(":")
    made: list[Kind] = getattr(import_module(f"{__package__}.{module}"), function)()
    return made


def run(
    group: str, count: int, seed: int = 0, limit: float = 60.0, keep: Path | None = None
) -> dict[str, Count]:
    """Try a group ``count`` times, its kinds in turn.

    Args:
        group: A key of `GROUPS`.
        count: How many tries.
        seed: Of the run.
        limit: Seconds after which a try counts as hung.
        keep: Folder for the inputs of faults, one of each sort.

    Returns:
        A count for each kind.
    """
    names = [kind.name for kind in kinds_of(group)]
    counts = {name: Count() for name in names}
    where = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-", dir=where))
    try:
        number = 0
        while number < count:
            tries = _watched(group, number, count, seed, limit, scratch)
            for number, outcome, detail, seconds, peak in tries:
                kind = counts[names[number % len(names)]]
                over = peak > MEMORY >= kind.peak and outcome in ("read", "refused")
                said = "memory" if over else outcome
                kind.outcomes[said] += 1
                kind.seconds += seconds
                kind.peak = max(kind.peak, peak)
                if said not in OUTCOMES[:2] and detail not in kind.faults:
                    kind.faults[detail or said] = number
                    if keep is not None:
                        _keep(group, number, seed, detail or said, keep)
            number += 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return counts


def _watched(
    group: str, start: int, end: int, seed: int, limit: float, scratch: Path
) -> Iterator[tuple[int, str, str, float, float]]:
    """Tries in a process of their own until it hangs, dies or is done: number, outcome, detail,
    seconds, peak memory.
    """
    arguments = (group, str(start), str(end), str(seed), str(scratch))
    # Its errors go to a file: a pipe that nobody reads would stop it.
    with tempfile.TemporaryFile() as errors:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz", "--worker", *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        assert worker.stdout is not None
        number = start
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(worker.stdout, selectors.EVENT_READ)
                begun = time.monotonic()
                pending = b""
                ready = False
                while True:
                    if not selector.select(limit):
                        yield number, "hang", "hang", limit, 0.0
                        return
                    got = os.read(worker.stdout.fileno(), 1 << 16)
                    if not got:
                        break
                    *lines, pending = (pending + got).split(b"\n")
                    for line in lines:
                        if line == READY:
                            ready = True
                            continue
                        outcome, detail, peak = json.loads(line)
                        now = time.monotonic()
                        yield number, outcome, detail, now - begun, peak
                        begun = now
                        number += 1
            if worker.wait() != 0 or number < end:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                if not ready:
                    raise RuntimeError("\n".join(["the seeds cannot be made:", *said]))
                detail = f"crash, exit code {worker.returncode}: {said[-1] if said else ''}"
                yield number, "crash", detail, 0.0, 0.0
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()


def work(group: str, start: int, end: int, seed: int, scratch: Path) -> None:
    """The watched process: do the tries, and write a JSON line about each to standard output."""
    kinds = kinds_of(group)
    seeds = [list(kind.seeds()) for kind in kinds]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    folders = [scratch / kind.name for kind in kinds]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    out.write(READY.decode() + "\n")
    for number in range(start, end):
        place = number % len(kinds)
        data = _input(kinds[place], seeds[place], group, number, seed)
        outcome, detail = _try(kinds[place], folders[place], data)
        out.write(json.dumps([outcome, detail, _peak()]) + "\n")


def _input(kind: Kind, seeds: Sequence[Any], group: str, number: int, seed: int) -> bytes:
    generator = random.Random(f"{group}/{kind.name}/{seed}/{number}")
    return kind.mutate(generator, generator.choice(list(seeds)))


def _try(kind: Kind, folder: Path, data: bytes) -> tuple[str, str]:
    from rmpe.errors import RmpeError

    try:
        kind.consume(folder, data)
    except RmpeError as error:
        lines = len(str(error).splitlines())
        return (
            ("refused", "") if lines == 1 else ("not one line", f"{lines} lines, {_place(error)}")
        )
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "traceback", f"{type(error).__name__} at {_place(error)}: {str(error)[:120]}"
    return "read", ""


def _place(error: BaseException) -> str:
    """The last line of ours that an exception went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/src/rmpe/" in frame.filename] or frames[-1:]
    file = ours[-1].filename.partition("/src/rmpe/")[2] or Path(ours[-1].filename).name
    return f"{file}:{ours[-1].lineno}"


def _peak() -> float:
    """Most memory of this process, MB.

    Linux says it for the program itself; ``ru_maxrss`` also counts the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _keep(group: str, number: int, seed: int, detail: str, folder: Path) -> None:
    kinds = kinds_of(group)
    kind = kinds[number % len(kinds)]
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{kind.name}-{number}"
    with contextlib.suppress(Exception):
        (folder / f"{stem}.bin").write_bytes(_input(kind, kind.seeds(), group, number, seed))
    (folder / f"{stem}.txt").write_text(f"{detail}\n", "utf-8", errors="backslashreplace")
