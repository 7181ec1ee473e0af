"""What a forward pass of the paper's SSD-512 costs in ONNX Runtime, against the processor's peak.

    python benchmarks/ssd512_time.py [--threads 2] [--save]

The weights are random: they do not change the time. The peak is what a product of two 2048 x 2048
float32 matrices reaches with as many threads.
"""

import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from pose_engines import milliseconds, peak_gflops
from record import show
from torch import nn

from rmpe.export import export_checkpoint
from rmpe.nets.checkpoint import save_checkpoint
from rmpe.nets.detectors.ssd512 import SIZE, Ssd512
from rmpe.runtime import Session

COLUMNS = ["net", "input", "GFLOP", "ms", "GFLOP/s", "matrix product GFLOP/s", "share of it"]


def gflop(net, image):
    """Two operations a multiply-add of every convolution."""
    total = 0

    def count(module, _inputs, output):
        nonlocal total
        total += 2 * output[0].numel() * module.weight[0].numel()

    hooks = [
        module.register_forward_hook(count)
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.inference_mode():
        net(image)
    for hook in hooks:
        hook.remove()
    return total / 1e9


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option(
    "--seconds", default=5.0, show_default=True, help="At least so long; the median pass counts."
)
@click.option("--save", is_flag=True, help="Record the table for docs/results.md.")
def main(threads, seconds, save):
    torch.set_num_threads(threads)
    net = Ssd512().eval()
    work = gflop(net, torch.zeros(1, 3, SIZE, SIZE))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "ssd512.safetensors"
        save_checkpoint(checkpoint, net, {"model": {"name": "ssd512"}, "size": [SIZE, SIZE]})
        (model,) = export_checkpoint(checkpoint, Path(folder))
        session = Session(model, "cpu", threads)
        images = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
        taken = milliseconds(lambda: session(images), seconds)
    peak = peak_gflops(threads)
    speed = work / taken * 1000
    row = ["SSD-512 (VGG-16)", f"{SIZE}x{SIZE}", work, taken, speed, peak, speed / peak]
    command = f"python benchmarks/ssd512_time.py --threads {threads}"
    show(
        "ssd512-time",
        save=save,
        title="Time of SSD-512",
        command=command,
        data="noise",
        columns=COLUMNS,
        rows=[row],
    )


if __name__ == "__main__":
    main()
