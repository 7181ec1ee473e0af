"""Train the runs that the proof of SSTN compares; call it again to go on.

One stage 1 pose model a box policy; from each, stage 2 runs of equal length. Every run is
``rmpe train`` with one of two configurations and the overrides that ``--list`` prints. A finished
run is skipped, an interrupted one resumed. ``benchmarks.boxes.sstn --runs`` measures them.
"""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import click

from benchmarks.options import benchmark
from benchmarks.record import ROOT
from rmpe.ablation.runs import CHECKPOINT, finished

STAGE1, STAGE2 = "configs/proof_stage1.toml", "configs/proof_stage2.toml"
POLICIES = {"pgpg": "configs/pgpg_yolox_nano.toml", "true": "'true'", "jitter": "jitter"}
EARLY = [f"backbone.{part}" for part in ("stem", "blocks.0", "blocks.1", "blocks.2")]
# The STN's copy of the backbone learns from stride 16 on.
FINE = [
    f"features.backbone.{part}" for part in ("stem", *(f"blocks.{block}" for block in range(5)))
]
# What teaches the STN in stage 2; the control is the same fine-tuning without SSTN.
CONTROL = ["stage=1", "optim.lr=2e-4", f"freeze={EARLY}"]
TEACHERS = {
    "all": ["sstn.parallel=1.0", "sstn.theta=10.0"],
    "theta": ["sstn.parallel=0.0", "sstn.theta=10.0"],
    "parallel": ["sstn.parallel=1.0", "sstn.theta=0.0"],
    "sstn": ["sstn.parallel=0.0", "sstn.theta=0.0"],
}
# What the pose estimator sees in stage 2: pixels of the crop (the paper), or of the image through
# the composed map.
SAMPLINGS = {"": "crop", "-composed": "composed"}
# An STN alone, taught by the true transform: a step without a pose estimator is cheap, so it gets
# more of them.
ALONE = ["stage=stn", "steps=1200", f"freeze={FINE}", "optim.lr_scale={features=0.25}"]
# glibc otherwise returns every tensor's memory to the system: up to twice as slow.
TUNABLES = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"


def runs(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Name of each run, in the order they are made -> its configuration and overrides."""
    table = {}
    for policy, box_policy in POLICIES.items():
        table[f"stage1-{policy}"] = (STAGE1, [f"augment.policy={box_policy}"])
        start = f"start={folder / f'stage1-{policy}' / CHECKPOINT}"
        if policy == "pgpg":
            table["stn"] = (STAGE2, [start, *ALONE])
        table[f"stage2-{policy}-control"] = (STAGE2, [start, *CONTROL])
        for suffix, sampling in SAMPLINGS.items():
            for variant, teachers in TEACHERS.items():
                settings = [start, f"sstn.sampling={sampling}", *teachers]
                table[f"stage2-{policy}-{variant}{suffix}"] = (STAGE2, settings)
    return table


def command(name: str, config: str, overrides: list[str], folder: Path) -> list[str]:
    settings = [f"run={folder / name}", *overrides]
    return [
        sys.executable,
        "-m",
        "rmpe",
        "train",
        config,
        *(part for value in settings for part in ("--set", value)),
    ]


@benchmark()
@click.option("--list", "only_list", is_flag=True, help="Print the commands and stop.")
@click.option("--until", metavar="HH:MM", help="Start no run after this time of day.")
@click.option("--runs", "out", type=click.Path(path_type=Path), default=Path("runs/proof"))
@click.option("--only", multiple=True, metavar="RUN", help="Only this run; may be repeated.")
def main(only_list, until, out, only):
    for name, (config, overrides) in runs(out).items():
        line = command(name, config, overrides, out)
        if only and name not in only:
            continue
        if only_list:
            print(" ".join(line[2:]))
            continue
        if until and datetime.now().astimezone().strftime("%H:%M") >= until:
            print(f"{until} has come: {name} and what follows is left for the next call")
            return
        run = out / name
        if finished(run / CHECKPOINT):
            continue
        print(f"--- {name}", flush=True)
        environment = {**os.environ, "GLIBC_TUNABLES": TUNABLES, "OMP_NUM_THREADS": "1"}
        resume = ["--resume"] if (run / "state.pt").is_file() else []
        subprocess.run([*line, *resume], check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    main()
