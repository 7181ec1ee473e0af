"""A run on Ray: on this machine alone, and on two nodes of which one is killed."""

import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
psutil = pytest.importorskip("psutil")

from rmpe.farm.engines import on_ray
from rmpe.farm.parts import finished
from rmpe.farm.storage import open_storage

pytest_plugins = ["farming"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("importable_stubs"),
]


@pytest.fixture
def shut_down():
    yield
    ray.shutdown()


def test_on_this_machine_without_a_cluster(tmp_path, rmpe, models, photos, planned, shut_down):
    result = rmpe("run", planned, "--engine", "ray", "--workers", 1)
    assert result.exit_code == 0, result.exception
    assert rmpe("merge", planned, "--out", tmp_path / "merged").exit_code == 0
    arguments = ["--out", tmp_path / "predicted", "--no-draw", "--threads", 1, *models]
    assert rmpe("predict", photos, *arguments).exit_code == 0
    first, second = (tmp_path / name / "coco.json" for name in ("merged", "predicted"))
    assert first.read_bytes() == second.read_bytes()


def test_a_node_that_is_killed_loses_nothing(tmp_path, rmpe, models, shut_down):
    from ray.cluster_utils import Cluster

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(160):
        (photos / f"{number:03}.png").touch()  # the worker is a stub
    run = str(tmp_path / "run")
    assert rmpe("plan", photos, "--out", run, "--shard", 4, *models).exit_code == 0
    fast = {"health_check_initial_delay_ms": 3000, "health_check_period_ms": 1000}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": fast},
    )
    try:
        nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
        ray.init(address=cluster.address, log_to_driver=False)
        killed = False
        outcomes = []
        for outcome in on_ray(run, range(40), 2, cluster.address, worker="stubs:SlowStub"):
            outcomes.append(outcome.shard)
            if len(outcomes) >= 8 and not killed:
                raylet = psutil.Process(nodes[0].all_processes["raylet"][0].process.pid)
                for process in [raylet, *raylet.children(recursive=True)]:
                    process.kill()
                killed = True
        assert killed
        assert sorted(outcomes) == list(range(40))
        assert sorted(finished(open_storage(run).entries())) == list(range(40))
        assert not list(Path(run).glob(".*.partial"))
    finally:
        ray.shutdown()
        cluster.shutdown()
        time.sleep(1)
