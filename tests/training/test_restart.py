"""Two processes under ``torchrun``: one is killed, and the run goes on from its last state."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file
from small_set import write_set

from rmpe.config import load_config
from rmpe.skeletons import load_skeleton
from rmpe.training.loop import Trainer, read_state
from rmpe.training.pose.fit import TrainConfig

STEPS = 40
PATIENCE = 240.0  # seconds
# Else a restarted process may read where its dead predecessor listened, and fail to connect to it:
# https://github.com/pytorch/pytorch/issues/135712.
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def configuration(folder: Path) -> Path:
    """A tiny net; batch norms are frozen, because their statistics depend on the division."""
    annotations, images = write_set(folder / "data", load_skeleton("coco17"), images=4)
    lines = {
        "run": f'"{folder / "run"}"', "steps": str(STEPS), "batch": "4", "device": '"cpu"',
        "threads": "1", "freeze_norms": "true", "sigma": "1.0", "save_every": "0.0",
        "log_every": "0.0",
        "optim": '{ optimizer = "sgd", lr = 1e-3, warmup = 0, clip = 0.0, weight_decay = 0.0 }',
        "model": '{ name = "hourglass", stacks = 1, channels = 16, depth = 2 }',
        "data": f'{{ size = [64, 48], cache = "{folder / "cache"}", '
        f'sets = [{{ annotations = "{annotations}", images = "{images}" }}] }}',
    }  # fmt: skip
    file = folder / "config.toml"
    file.write_text("\n".join(f"{key} = {value}" for key, value in lines.items()) + "\n")
    return file


def torchrun(config: Path, run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"),
            *("--max_restarts=1", "--rdzv_backend=c10d", "--rdzv_endpoint=127.0.0.1:0"),
            *("-m", "rmpe", "train", str(config), "--set", f"run={run}"),
        ],
        env=os.environ | OWN_STORE | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(launcher: subprocess.Popen[str]) -> None:
    """Kill a launcher that still runs, and what it started: it alone would leave orphans."""
    if launcher.poll() is not None:
        return
    family = psutil.Process(launcher.pid)
    for process in [*family.children(recursive=True), family]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    launcher.wait()


def step_of(run: Path) -> int:
    return read_state(run / "state.pt", "cpu")["step"] if (run / "state.pt").exists() else 0


def losses(run: Path) -> dict[int, float]:
    """Step -> its loss."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["pose"] for line in lines if "pose" in line}


def worker(launcher: subprocess.Popen[str], rank: int) -> psutil.Process:
    (found,) = (
        child
        for child in psutil.Process(launcher.pid).children()
        if child.environ().get("RANK") == str(rank)
    )
    return found


def kill_at(launcher: subprocess.Popen[str], run: Path, step: int, rank: int) -> int:
    """Kill one process once the run has saved a step; the step that was saved last."""
    end = time.monotonic() + PATIENCE
    while step_of(run) < step:
        assert launcher.poll() is None, launcher.communicate()[0][-3000:]
        assert time.monotonic() < end
        time.sleep(0.01)
    worker(launcher, rank).send_signal(signal.SIGKILL)
    return step_of(run)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads other processes' environment")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_restarted_from_the_last_state(tmp_path, rank):
    config = configuration(tmp_path)
    # What one process with the whole batch learns; it also packs the crops.
    alone = Trainer(load_config(TrainConfig, config, [f"run={tmp_path / 'alone'}"]), print).fit()
    run = tmp_path / "two"
    launcher = torchrun(config, run)
    try:
        killed_at = kill_at(launcher, run, 3, rank)
        said, _ = launcher.communicate(timeout=PATIENCE)
    finally:
        end(launcher)
    assert launcher.returncode == 0, said[-3000:]
    assert killed_at < STEPS  # it was not over yet
    assert "going on from step" in said
    assert step_of(run) == STEPS
    # The log has the losses of the whole batch, not of the first process's share.
    ends = [losses(folder)[STEPS] for folder in (alone.parent, run)]
    assert ends[1] == pytest.approx(ends[0], rel=1e-4)
    one = load_file(alone)
    two = load_file(run / "model.safetensors")
    assert one.keys() == two.keys()
    for name, weights in one.items():
        np.testing.assert_allclose(two[name], weights, rtol=1e-5, atol=1e-6, err_msg=name)
