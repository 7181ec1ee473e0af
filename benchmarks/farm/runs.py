"""Photos, commands and a Ray cluster of two nodes, for the benchmarks of the farm."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import psutil

from benchmarks.people import folder as set_folder
from benchmarks.record import ROOT
from rmpe.media.sources import find_images

MODELS = ("yolox_nano.onnx", "tinypose_256x192.onnx")
# Ray starts slowly on a loaded machine, and gives up early.
PATIENCE = {
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
# A node that is killed is missed after so many seconds, not after a minute.
MISSED = {"health_check_initial_delay_ms": 5000, "health_check_period_ms": 2000}


def model_flags(data):
    detector, pose = (str(data / "models" / name) for name in MODELS)
    return ["--detector", detector, "--pose", pose]


def some_photos(data, count, folder):
    """The first photos of coco-val, by links."""
    folder.mkdir(parents=True)
    for item in find_images([str(set_folder(data) / "images")])[:count]:
        (folder / item.path.name).symlink_to(item.path.resolve())
    return folder


def rmpe(*arguments):
    return [sys.executable, "-m", "rmpe", *map(str, arguments)]


def environment():
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    return os.environ | PATIENCE | own


def start(*arguments, **options):
    return subprocess.Popen(
        rmpe(*arguments), env=environment(), stdout=subprocess.DEVNULL, **options
    )


def cpu_seconds(*arguments):
    """CPU seconds and wall seconds of ``rmpe`` with all processes that it has started."""
    started = time.perf_counter()
    _, status, usage = os.wait4(start(*arguments).pid, 0)
    if status:
        raise click.ClickException(f"rmpe {arguments[0]} failed with status {status}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def checked(*arguments):
    cpu_seconds(*arguments)


class Watched:
    """CPU seconds of trees of processes, which are looked at now and then while they live."""

    def __init__(self):
        self._seen = {}

    def look(self, roots):
        for root in roots:
            try:
                tree = [root, *root.children(recursive=True)]
            except psutil.Error:
                continue
            for process in tree:
                try:
                    times = process.cpu_times()
                except psutil.Error:
                    continue
                self._seen[process.pid, process.create_time()] = times.user + times.system

    @property
    def seconds(self):
        return sum(self._seen.values())


class TwoNodes:
    """A cluster of a head without cores and two nodes of one core each."""

    def __init__(self):
        os.environ.update(environment())  # Ray reads its own when it is imported
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self._started(num_cpus=0, include_dashboard=False, _system_config=MISSED)
        self.nodes = [self._node(), self._node()]

    @property
    def address(self):
        return self._cluster.address

    def _node(self):
        return self._started(num_cpus=1)

    def _started(self, **about):
        """A node; one that is too slow for Ray, which waits 30 s, is started anew."""
        known = set(psutil.Process().children(recursive=True))
        for left in range(8, -1, -1):
            try:
                return self._cluster.add_node(object_store_memory=80_000_000, wait=False, **about)
            except Exception:  # Ray raises a plain one
                if not left:
                    raise
                for process in set(psutil.Process().children(recursive=True)) - known:
                    with suppress(psutil.Error):
                        process.kill()
        raise AssertionError

    def processes(self):
        """The first processes of the head and of all nodes."""
        nodes = [self._cluster.head_node, *self.nodes]
        found = [info.process.pid for node in nodes for each in node.all_processes.values()
                 for info in each]  # fmt: skip
        return [psutil.Process(pid) for pid in found if psutil.pid_exists(pid)]

    def kill_node(self, place):
        """SIGKILL to a node's raylet, its agents, its workers and their children."""
        node = self.nodes[place]
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        for process in [raylet, *raylet.children(recursive=True)]:
            with suppress(psutil.Error):
                process.kill()
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes[place] = self._node()

    def children(self):
        """The workers' processes that hold the models."""
        return [
            process
            for root in self.processes()
            for process in safe(root.children)
            if "rmpe.farm" in " ".join(safe(process.cmdline))
        ]

    def close(self):
        self._cluster.shutdown()


def safe(call):
    try:
        return call(recursive=True) if call.__name__ == "children" else call()
    except psutil.Error:
        return []


@contextmanager
def two_nodes():
    cluster = TwoNodes()
    try:
        yield cluster
    finally:
        cluster.close()


def stop(process, seconds):
    """SIGSTOP for a while."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


def same(first: Path, second: Path):
    return first.read_bytes() == second.read_bytes()
