"""Milliseconds a person of the exported pose graphs, by engine and precision.

Weights are random: they change no time. ``composed`` runs stn.onnx, cuts the centred crop out of a
1280 x 720 photo and runs sppe.onnx; ``in crop`` is the paper's way, everything in one graph. The
machine's fp32 peak is the best that a 2048 x 2048 fp32 matrix product reached in the same run, on
the same threads.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import click
import cv2
import numpy as np
import openvino
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.options import benchmark
from benchmarks.record import show
from rmpe.affine import boxes_to_crops
from rmpe.estimate.crops import cut
from rmpe.export import export_checkpoint
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.checkpoint import build_net, save_checkpoint
from rmpe.quantise import quantise
from rmpe.runtime import Session

LITE = {"name": "lite", "joints": 17}
HOURGLASS = {"name": "hourglass", "joints": 16, "stacks": 4}
TINY = ({"name": "tiny_localisation", "size": (192, 144)}, (192, 144))
BACKBONE = ({"name": "backbone_localisation", "size": (128, 96), "sppe": LITE}, (128, 96))
RESNET = ({"name": "resnet18_localisation", "size": (256, 256)}, (256, 256))
# Nets with their crop sizes: a pose estimator, STNs to stand before it (composed) or to be joined
# with it (one graph).
ESTIMATORS = {
    "lite 256x192": ((LITE, (256, 192)), {"tiny": TINY, "backbone 128x96": BACKBONE}, {}),
    "lite 192x144": (
        (LITE, (192, 144)),
        {"tiny": TINY, "backbone 128x96": BACKBONE},
        {
            "tiny": TINY,
            "backbone, shrunk": ({**BACKBONE[0], "size": (192, 144), "shrink": 2}, (192, 144)),
        },
    ),
    "hourglass-4 256x256": ((HOURGLASS, (256, 256)), {"ResNet-18": RESNET}, {"ResNet-18": RESNET}),
}
BATCHES = (1, 8)
# A call that takes longer than this, ms a person, is not repeated with more people.
LONG = 60.0
COLUMNS = [
    "estimator",
    "SSTN",
    "engine",
    "precision",
    "ms a person, batch 1",
    "ms a person, batch 8",
]
COLUMNS += ["GFLOP a person", "share of the fp32 peak, batch 1"]
Run = Callable[[np.ndarray], object]


def onnx_runtime(path: Path, threads: int) -> Run:
    """As the product runs it: threads that wait awake during a call, not after it."""
    return Session(path, "cpu", threads)


def open_vino(path: Path, threads: int) -> Run:
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return openvino.Core().compile_model(path, "CPU", settings)


ENGINES = {"ONNX Runtime": onnx_runtime, "OpenVINO": open_vino}


def composed(stn: Run, sppe: Run, size: tuple[int, int]) -> Run:
    photo = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    maps = boxes_to_crops(np.tile([400.0, 100, 700, 700], (max(BATCHES), 1)), size, "center")

    def run(images: np.ndarray) -> object:
        stn(images)
        crops = cut(photo, maps[: len(images)], size)
        return sppe(cv2.dnn.blobFromImages(list(crops), 1 / PIXEL_SD, mean=(PIXEL_MEAN,) * 3))

    return run


def exported(
    model: dict, size: tuple[int, int], way: str, folder: Path
) -> tuple[dict[str, Path], float]:
    """The one ONNX file of a net by precision, and its GFLOP a person."""
    net = build_net(model).eval()
    skeleton = "mpii16" if "hourglass" in str(model) else "coco17"
    folder.mkdir()
    save_checkpoint(
        folder / "net.safetensors", net, {"model": model, "skeleton": skeleton, "size": size}
    )
    (file,) = export_checkpoint(folder / "net.safetensors", folder, way)
    inputs = [np.random.default_rng(0).normal(size=(4, 3, *size)).astype(np.float32)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, *size))
    print(f"exported {folder.name}", flush=True)
    return {
        "fp32": file,
        "int8": quantise(file, inputs, folder / "int8.onnx"),
    }, counter.get_total_flops() / 1e9


def candidates(
    only: str, threads: int, folder: Path
) -> dict[tuple[str, ...], tuple[Run, tuple[int, int], float]]:
    """(estimator, SSTN, engine, precision) to what runs it, its input size and GFLOP a person."""
    found = {}
    made = cache(lambda name, way: exported(*nets[name], way, folder / f"{name}, {way}"))
    nets: dict[str, tuple[dict, tuple[int, int]]] = {}
    for estimator, (sppe, before, joined) in ESTIMATORS.items():
        if only not in estimator:
            continue
        nets[estimator] = sppe
        ways = {"none": [(estimator, "composed")]}
        for name, stn in before.items():
            nets[name] = stn
            ways[f"composed, {name}"] = [(name, "composed"), (estimator, "composed")]
        for name, (localisation, size) in joined.items():
            whole = f"{estimator} with {name}"
            nets[whole] = (
                {"name": "sstn_sppe", "sppe": sppe[0], "localisation": localisation},
                size,
            )
            ways[f"in crop, {name}"] = [(whole, "crop")]
        for way, parts in ways.items():
            gflop = sum(made(*part)[1] for part in parts)
            for (engine, load), precision in product(ENGINES.items(), ("fp32", "int8")):
                runs = [load(made(*part)[0][precision], threads) for part in parts]
                run = composed(*runs, sppe[1]) if len(runs) == 2 else runs[0]
                found[estimator, way, engine, precision] = (run, nets[parts[0][0]][1], gflop)
    return found


def milliseconds(run: Callable[[], object], least: float = 0.2) -> float:
    """The median of at least three calls and ``least`` seconds, after a call to warm up."""
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < least:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def peak_gflops(threads: int) -> float:
    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return max(2 * 2.048**3 * 1000 / milliseconds(lambda: a @ b, 0.5) for _ in range(3))


@benchmark("threads", "save")
@click.option("--rounds", default=3, show_default=True, help="All are timed in turn, so often.")
@click.option("--only", default="", help="Estimators with this in their name.")
def main(threads, rounds, only, save):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        runs = candidates(only, threads, Path(folder))
        peak = peak_gflops(threads)
        times: dict[tuple, list[float]] = {}
        for _ in range(rounds):  # in turn, so that a disturbance hits all alike
            for key, (run, size, _) in runs.items():
                for batch in BATCHES:
                    if batch > 1 and times[(*key, 1)][0] > LONG:
                        continue
                    images = rng.normal(size=(batch, 3, *size)).astype(np.float32)
                    taken = milliseconds(lambda run=run, images=images: run(images)) / batch
                    times.setdefault((*key, batch), []).append(taken)
    rows = []
    for key, (_, _, gflop) in runs.items():
        one, eight = (
            statistics.median(times[(*key, batch)]) if (*key, batch) in times else None
            for batch in BATCHES
        )
        rows.append([*key, one, eight, gflop, gflop / one * 1000 / peak])
    show(
        "pose-engines",
        save=save,
        title="Exported pose graphs: time a person",
        data="random weights and inputs",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"Medians of {rounds} rounds in turn on {threads} threads. The peak of the machine is"
            f" {peak:.0f} GFLOP/s (a 2048 x 2048 fp32 matrix product in the same run); int8 rows"
            " are set against the fp32 peak too. Composed rows include the second crop, cut from a"
            " 1280 x 720 photo. Only rows in the crop include decoding."
        ),
    )


if __name__ == "__main__":
    main()
