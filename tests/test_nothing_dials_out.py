"""Nothing dials out unless it is asked to: an audit hook in every process, whatever it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

# Loaded by every Python process that has its folder on the path: also by workers and video jobs.
HOOK = """
import ipaddress, os, socket, sys
EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
          "socket.gethostbyname", "urllib.Request"}
def is_here(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return arguments[0].family == getattr(socket, "AF_UNIX", None)
    try:  # a number needs no name server
        return event == "socket.getaddrinfo" and ipaddress.ip_address(arguments[0]).is_loopback
    except ValueError:
        return False
def hook(event, arguments):
    if event in EVENTS and not is_here(event, arguments):
        with open(os.environ["DIALLED"], "a") as file:
            file.write(f"{sys.argv}: {event} {arguments[1:]}\\\\n")
sys.addaudithook(hook)
with open(os.environ["DIALLED"] + ".processes", "a") as file:
    file.write(f"{os.getpid()}\\\\n")
""".replace("\\\\n", "\\n")


class Watched:
    """The environment of processes that are watched.

    Attributes:
        environment: It.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(HOOK)
        self._file = folder / "dialled"
        path = os.pathsep.join([str(folder), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
        home = {"RMPE_HOME": str(folder / "home"), "DIALLED": str(self._file)}
        self.environment = os.environ | proxies | home | {"PYTHONPATH": path}

    def run(self, *arguments, check=True):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=self.environment,
            cwd=self._file.parent,
            capture_output=True,
            text=True,
            check=check,
        )

    @property
    def dialled(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    @property
    def processes(self) -> int:
        return len(Path(f"{self._file}.processes").read_text().splitlines())


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path / "watched")


@pytest.mark.parametrize(
    "code",
    [
        "urllib.request.urlopen('http://127.0.0.1:1/', timeout=1)",
        "socket.getaddrinfo('nowhere.invalid', 80)",
        "socket.create_connection(('127.0.0.1', 1))",
        "subprocess.run([sys.executable, '-c', 'import socket; socket.gethostbyname(\"x\")'])",
    ],
)
def test_the_hook_sees_what_it_should(watched, code):
    watched.run("-c", f"import socket, subprocess, sys, urllib.request; {code}", check=False)
    assert watched.dialled
    assert watched.processes == 1 + ("subprocess" in code)


@pytest.mark.slow
def test_commands_dial_nobody(watched, tmp_path):
    photo = ROOT / "examples" / "basketball1.png"
    for words in (
        ["predict", photo, "--out", tmp_path / "a", "--device", "auto"],
        ["models"],
        ["models", "catalogue"],
        ["models", "verify"],
        ["doctor"],
    ):
        watched.run("-m", "rmpe", *words)
    assert watched.dialled == ""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_loading_an_engine_dials_nobody(watched, pipeline, engine):
    """OpenVINO would report that it was imported, in a process of its own."""
    pytest.importorskip(engine)
    device = {"onnxruntime": "cpu"}.get(engine, engine)
    watched.run(
        "-c", f"from rmpe.runtime import Session; Session({str(pipeline.pose)!r}, {device!r})"
    )
    assert watched.dialled == ""


@pytest.mark.slow
def test_a_training_dials_nobody(watched, tmp_path):
    """From the photos to the ONNX file, with a process that reads crops beside it."""
    pytest.importorskip("torch")
    from small_set import write_set

    from rmpe.skeletons import load_skeleton

    annotations, images = write_set(tmp_path / "set", load_skeleton("coco17"), images=4)
    config = tmp_path / "train.toml"
    config.write_text(
        f"""
        run = "{tmp_path / "run"}"
        steps = 3
        batch = 4
        workers = 1
        device = "cpu"
        threads = 1
        sigma = 1.0
        model = {{ name = "lite", pretrained = true }}
        [data]
        size = [64, 64]
        cache = "{tmp_path / "cache"}"
        [[data.sets]]
        annotations = "{annotations}"
        images = "{images}"
        """
    )
    watched.run("-m", "rmpe", "train", config)
    [checkpoint] = (tmp_path / "run").glob("*.safetensors")
    watched.run("-m", "rmpe", "export", checkpoint, "--out", tmp_path / "out")
    assert watched.dialled == ""


@pytest.mark.slow
def test_a_running_server_dials_nobody(watched, tmp_path, pipeline, photo, clip):
    """Its page, photos, and a video in a process of its own."""
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("fastapi")
    import time

    from serving import Process

    models = ["--detector", str(pipeline.detector), "--pose", str(pipeline.pose)]
    server = Process(models, tmp_path / "jobs", environment=watched.environment)
    with httpx.Client(base_url=server.url, timeout=60) as call:
        assert call.get("/").status_code == 200
        for path in ("/static/app.js", "/v1/models", "/metrics", "/openapi.json", "/readyz"):
            assert call.get(path).status_code == 200
        assert call.post("/v1/poses", content=photo).status_code == 200
        name = call.post("/v1/videos", content=clip.read_bytes()).json()["id"]
        while (state := call.get(f"/v1/videos/{name}").json()["state"]) != "done":
            assert state in ("queued", "running")
            time.sleep(0.1)
    server.end()
    assert watched.dialled == ""
    assert watched.processes >= 2
