"""Training images a second on the CPU, what a step spends its time on, and the share of the peak.

Set GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184 before, as for
training. People come from the packed crops of configs/proof_stage1.toml, photos from those of
configs/person_detector.toml; weights are random but for ImageNet's. A detector's forward part holds
the teacher's answer, its FLOP do not. The fp32 peak is that of `benchmarks.speed.pose_engines`, in
the same run on the same threads.
"""

import math
import os
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.options import benchmark
from benchmarks.record import ROOT, show
from benchmarks.speed.pose_engines import peak_gflops
from rmpe.config import load_config
from rmpe.nets.checkpoint import build_net, save_checkpoint
from rmpe.training.detector.fit import DetectorConfig
from rmpe.training.pose.fit import TrainConfig, Trainer

STAGE1, STAGE2 = (ROOT / "configs" / f"proof_stage{stage}.toml" for stage in (1, 2))
DETECTOR, DETECTOR_FINE = (
    ROOT / "configs" / f"person_detector{suffix}.toml" for suffix in ("", "_fine")
)
HOURGLASS = 'model={ name = "hourglass", stacks = 4 }'
BFLOAT16 = "precision=bfloat16"
MIDDLE = ["small_size=[192, 144]", "small_share=1.0"]
FINE = tomllib.loads((ROOT / "configs" / "lite_cpu_fine.toml").read_text("utf-8"))
FROZEN = ["freeze_norms=true", f"freeze={FINE['freeze']}"]
SQUARE = ["small_size=[256, 256]", "small_share=1.0", "freeze=[]", "batch=2"]
ROWS = {
    "lite 128x96, early blocks frozen": (STAGE1, []),
    "lite 192x144, early blocks frozen": (STAGE1, MIDDLE),
    "lite 192x144, norms and 5x5 filters frozen too": (STAGE1, [*MIDDLE, *FROZEN]),
    "lite 192x144, frozen so, bfloat16": (STAGE1, [*MIDDLE, *FROZEN, BFLOAT16]),
    "lite 128x96, SSTN and parallel SPPE, in the crop": (STAGE2, ["sstn.sampling=crop"]),
    "lite 128x96, SSTN and parallel SPPE, composed": (STAGE2, ["sstn.sampling=composed"]),
    "small detector 320x320": (DETECTOR, ["batch=16"]),
    "small detector 320x320, frozen and bfloat16": (
        DETECTOR_FINE,
        ["start=models/detector-person.safetensors"],
    ),
    "hourglass-4 256x256": (STAGE1, [HOURGLASS, *SQUARE]),
    "hourglass-4 256x256, bfloat16": (STAGE1, [HOURGLASS, *SQUARE, BFLOAT16]),
}
PARTS = ("augmentation", "forward", "backward", "optimiser")
COLUMNS = ["net", "batch", "images a second", *(f"{part}, % of a step" for part in PARTS)]
COLUMNS += ["GFLOP an image", "share of the fp32 peak"]


def gradient_flop(
    gradient, _inputs, weight, _bias, _stride, _pad, _dilation, _t, _p, _groups, wanted, **_
):
    """Of a convolution's gradients: each of the two costs as much as the convolution itself."""
    return sum(wanted[:2]) * 2 * math.prod(gradient) * math.prod(weight[1:])


def step(trainer: Trainer, clock: Callable[[str], None]) -> None:
    """One update as `Trainer.update` makes it, told apart."""
    trainer.net.train()
    for module in trainer.frozen:
        module.eval()
    batch = trainer.batch(trainer.step)
    clock("augmentation")
    loss = torch.stack(list(trainer.losses(batch).values())).sum()
    clock("forward")
    trainer.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    clock("backward")
    torch.nn.utils.clip_grad_norm_(trainer.net.parameters(), trainer.config.optim.clip)
    trainer.optimizer.step()
    trainer.average.update(trainer.net)
    clock("optimiser")
    trainer.step += 1


def measure(trainer: Trainer, steps: int) -> tuple[dict[str, float], float]:
    """Median seconds of each part of a step, and GFLOP an image, forward and backward."""
    with FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: gradient_flop}
    ) as counter:
        step(trainer, lambda part: None)  # noqa: ARG005 - a step to warm up
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(steps):
        last = time.perf_counter()

        def clock(part: str) -> None:
            nonlocal last
            now = time.perf_counter()
            times[part].append(now - last)
            last = now

        step(trainer, clock)
    gflop = counter.get_total_flops() / 1e9 / trainer.config.batch
    return {part: statistics.median(taken) for part, taken in times.items()}, gflop


@benchmark("threads", "save")
@click.option("--steps", default=5, show_default=True)
@click.option("--only", default="", help="Nets with this in their name.")
def main(threads, steps, only, save):
    os.chdir(ROOT)  # the configurations' paths are relative to it
    rows = []
    peak = peak_gflops(threads)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.safetensors"
        model = {"name": "lite", "joints": 17, "pretrained": True}
        save_checkpoint(
            start, build_net(model), {"model": model, "skeleton": "coco17", "size": [128, 96]}
        )
        for name, (file, overrides) in ROWS.items():
            if only not in name:
                continue
            settings = [*overrides, f"threads={threads}", f"run={folder}/run"]
            settings += [f"start={start}"] if file == STAGE2 else []
            kind = DetectorConfig if file in (DETECTOR, DETECTOR_FINE) else TrainConfig
            trainer = Trainer(load_config(kind, file, settings), lambda line: None)  # noqa: ARG005 - silent
            parts, gflop = measure(trainer, steps)
            batch = trainer.config.batch
            total = sum(parts.values())
            shares = [100 * parts[part] / total for part in PARTS]
            rows.append([name, batch, batch / total, *shares, gflop, gflop * batch / total / peak])
            print(f"{name}: done", flush=True)
    show(
        "train-speed",
        save=save,
        title="Training images a second",
        data="packed crops and photos of coco-train and coco-more",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"Medians of {steps} steps on {threads} threads; the peak is {peak:.0f} GFLOP/s (a 2048"
            " x 2048 fp32 matrix product in the same run). Where forward and backward fill a step,"
            " the nets bound it, not the data; what they lack to the peak is work that moves"
            " memory: depthwise convolutions, batch norms, activations. A share above 1 says that"
            " the library's convolutions beat its matrix product on this processor."
        ),
    )


if __name__ == "__main__":
    main()
