"""Two processes on loopback train as one does: the same losses, gradients and weights."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_set import write_set

from rmpe.config import load_config
from rmpe.skeletons import load_skeleton
from rmpe.training.loop import Trainer
from rmpe.training.pose.fit import TrainConfig

# Runs every configuration of a JSON file and writes, for each, what must not depend on the number
# of processes. Detectors draw their augmentation per share, so one process joins the batches that
# two would draw.
SCRIPT = """
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad

from rmpe.config import load_config
from rmpe.training.detector.fit import DetectorBatch, DetectorConfig
from rmpe.training.detector.losses import DetectionTargets
from rmpe.training.loop import Trainer
from rmpe.training.pose.fit import TrainConfig

PROCESSES = 2


def joined(run, step):
    rows = run.config.batch // PROCESSES
    items = run._order(0)[np.arange(run.config.batch) % run.task.items]
    parts = []
    for rank in range(PROCESSES):
        share = slice(rank * rows, (rank + 1) * rows)
        share = run.share if run.worker.count > 1 else share
        generator = np.random.default_rng([run.config.seed, step])
        parts.append(run.task.batch(items, generator, 0.0, share))
    if run.worker.count > 1:
        return parts[0]
    most = max(part.targets.people.shape[1] for part in parts)
    fields = [
        torch.cat([
            pad(field, (0, 0, 0, most - field.shape[1]) if field.ndim == 3
                else (0, most - field.shape[1]))
            for field in fields
        ])
        for fields in zip(*(part.targets for part in parts))
    ]
    return DetectorBatch(torch.cat([part.images for part in parts]), DetectionTargets(*fields))


results = {}
for name, file in json.loads(Path(sys.argv[1]).read_text()).items():
    detector = name in ("person_detector", "ssd512")
    config = load_config(DetectorConfig if detector else TrainConfig, Path(file))
    run = Trainer(config, lambda line: None)
    if detector:
        run.batch = lambda step, run=run: joined(run, step)
    losses = []
    norms = []
    for _ in range(2):
        parts = run.update()
        del parts["lr"]
        losses += parts.values()
        gradients = [p.grad for p in run.net.parameters() if p.grad is not None]
        norms.append(torch.stack([g.norm() for g in gradients]).norm().item())
    weights = sum(value.double().abs().sum().item() for value in run.net.state_dict().values())
    results[name] = {"losses": losses, "norms": norms, "weights": weights}
if run.worker.rank == 0:
    Path(sys.argv[2]).write_text(json.dumps(results))
run.worker.leave()
"""

TASKS = ("pose stage 1", "pose stage 2", "stn", "person_detector", "ssd512")


def configurations(folder: Path) -> dict[str, Path]:
    """A tiny configuration for every task, by its name; their crops and photos are packed."""
    annotations, images = write_set(folder / "data", load_skeleton("coco17"), images=4)
    run = {
        "run": f'"{folder / "run"}"', "steps": "4", "batch": "4", "device": '"cpu"',
        "threads": "1", "freeze_norms": "true",
        "optim": '{ optimizer = "sgd", lr = 1e-3, warmup = 0, clip = 0.0, weight_decay = 0.0 }',
    }  # fmt: skip
    files = f'annotations = "{annotations}", images = "{images}"'
    pose = run | {
        "sigma": "1.0",
        "model": '{ name = "hourglass", stacks = 1, channels = 16, depth = 2 }',
        "data": f'{{ size = [64, 48], cache = "{folder / "cache"}", sets = [{{ {files} }}] }}',
    }
    start = Trainer(
        load_config(TrainConfig, _write(folder / "first.toml", pose | {"steps": "1"})),
        lambda line: None,
    ).fit()
    tiny = '{ localisation = { name = "tiny_localisation" }, theta = 1.0, sampling = "composed" }'
    photos = f'{{ cache = "{folder / "cache"}", side = 64, sets = [{{ {files} }}] }}'
    detector = run | {"photos": photos, "last_share": "0.0"}
    small, large = ("{ size = [64, 64], mosaic = 0.5 }", "{ size = [512, 512] }")
    changes = {
        "pose stage 1": pose,
        "pose stage 2": pose | {"stage": "2", "start": f'"{start}"', "sstn": tiny},
        "stn": pose | {"stage": '"stn"', "start": f'"{start}"', "sstn": tiny},
        "person_detector": detector
        | {"model": '{ name = "person_detector", width = 16, depth = 1 }'}
        | {"augment": small, "last": small},
        "ssd512": detector
        | {"model": '{ name = "ssd512", width = 0.03125 }', "augment": large, "last": large},
    }
    return {
        name: _write(folder / f"{index}.toml", changes[name]) for index, name in enumerate(TASKS)
    }


def _write(file: Path, lines: dict[str, str]) -> Path:
    file.write_text("\n".join(f"{key} = {value}" for key, value in lines.items()) + "\n")
    return file


def _measure(folder: Path, name: str, launcher: list[str]) -> dict[str, dict[str, list[float]]]:
    command = [sys.executable, *launcher, folder / "run.py", folder / "files.json", folder / name]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    measured: dict[str, dict[str, list[float]]] = json.loads((folder / name).read_text())
    return measured


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    """What one process and two processes measure."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "run.py").write_text(SCRIPT)
    files = {name: str(file) for name, file in configurations(folder).items()}
    (folder / "files.json").write_text(json.dumps(files))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2"]
    torchrun += ["--master_addr=127.0.0.1", f"--master_port={port}"]
    return _measure(folder, "one.json", []), _measure(folder, "two.json", torchrun)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_two_processes_train_as_one_does(one_and_two, task):
    """Batch norms are frozen; their statistics alone depend on the division of the batch."""
    first, second = (measured[task] for measured in one_and_two)
    for figure in ("losses", "norms", "weights"):
        np.testing.assert_allclose(second[figure], first[figure], rtol=1e-5, err_msg=figure)
    assert min(first["norms"]) > 0
