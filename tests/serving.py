"""Fixtures of a service on tiny models, called without a socket, or in a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import unquote

import numpy as np
import pytest
from tiny_models import JOINTS, PEOPLE, spot_pose_model, spots, yolox_model

from rmpe.media.images import save_image
from rmpe.options import PipelineOptions
from rmpe.serve.options import ServeOptions

TOKEN = "a-token-of-sixteen-letters-or-more"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="session")
def pipeline(folder):
    pose = spot_pose_model(folder)
    skeleton = folder / "rgb3.toml"  # with a joint that OpenPose has, too
    skeleton.write_text(skeleton.read_text().replace('"blue"', '"nose"'))
    return PipelineOptions(detector=yolox_model(folder, PEOPLE), pose=pose, threads=1)


@pytest.fixture(scope="session")
def estimator(pipeline):
    return pipeline.load()


@pytest.fixture(scope="session")
def photo(folder):
    save_image(folder / "photo.png", spots((64, 64), JOINTS, 3))
    return (folder / "photo.png").read_bytes()


@pytest.fixture(scope="session")
def clip(folder):
    """A video of 12 frames."""
    from rmpe.media.video_writer import VideoWriter

    with VideoWriter(folder / "clip.mp4", fps=10) as writer:
        for number in range(12):
            writer.write(np.roll(spots((64, 64), JOINTS, 3), number // 4, axis=1), number / 10)
    return folder / "clip.mp4"


class Client:
    """A client of an app whose lifespan has begun; every call blocks."""

    def __init__(self, loop, app, headers):
        import httpx

        self.loop = loop
        self.app = app
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://127.0.0.1:8000",
            headers=headers,
        )

    def __call__(self, method, path, **more):
        return self.loop.run_until_complete(self.http.request(method, path, **more))

    def raw(self, path):
        """Status and body of GET for a path just as it is spelt: httpx would tidy it up."""
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "root_path": "",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1:8000")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        self.loop.run_until_complete(self.app(scope, receive, send))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

    def many(self, calls, after=0, then=None):
        """Answers to calls that begin together; ``then`` is called when so many are answered."""

        async def together():
            tasks = [
                asyncio.ensure_future(self.http.request(*call[:2], **call[2])) for call in calls
            ]
            while then and sum(task.done() for task in tasks) < after:
                await asyncio.sleep(0.01)
            if then:
                then()
            return await asyncio.gather(*tasks)

        return self.loop.run_until_complete(together())

    def until_done(self, name):
        for _ in range(2500):
            state = self("GET", f"/v1/videos/{name}").json()
            if state["state"] in ("done", "failed"):
                return state
            time.sleep(0.1)
        raise AssertionError(f"not done: {state}")


@pytest.fixture
def connect(tmp_path, pipeline, estimator):
    """How to start an app with given options."""
    pytest.importorskip("httpx")
    pytest.importorskip("fastapi")
    from rmpe.serve.app import build

    started = []

    def start(model=None, headers=None, **options):
        loop = asyncio.new_event_loop()
        settings = ServeOptions(**{"jobs": tmp_path / "jobs"} | options)
        app = build(settings, pipeline, model or estimator)
        lifespan = Lifespan(loop, app)
        started.append((loop, lifespan))
        return Client(loop, app, headers)

    yield start
    for loop, lifespan in started:
        lifespan.end()
        loop.close()


class Lifespan:
    """What a web server does before and after requests."""

    def __init__(self, loop, app):
        self.loop = loop
        self.told = asyncio.Queue()
        self.says = asyncio.Queue()
        self.task = loop.create_task(app({"type": "lifespan"}, self.told.get, self.says.put))
        self.tell("startup")

    def tell(self, what):
        self.told.put_nowait({"type": f"lifespan.{what}"})
        answer = self.loop.run_until_complete(asyncio.wait_for(self.says.get(), 60))
        assert answer["type"] == f"lifespan.{what}.complete", answer

    def end(self):
        self.tell("shutdown")
        self.loop.run_until_complete(self.task)


@pytest.fixture
def client(connect):
    return connect()


class Process:
    """``rmpe serve`` as a process; ``url`` is where it listens."""

    def __init__(self, arguments, jobs, environment=os.environ):
        self.child = subprocess.Popen(
            [sys.executable, "-m", "rmpe", "serve", "--port", "0", "--jobs", str(jobs), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environment | {"PYTHONUNBUFFERED": "1"},
        )
        self.lines = [self.child.stderr.readline()]
        assert self.lines[0].startswith("rmpe serve: http"), (
            self.lines[0] + self.child.stderr.read()
        )
        # A pipe that nobody reads is full after a few hundred requests, and the server waits.
        self.reader = threading.Thread(target=self.lines.extend, args=[self.child.stderr])
        self.reader.start()
        self.url = self.lines[0].split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as first:
            first.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert first.recv(12) == b"HTTP/1.1 200"

    def end(self, number=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(number)
        code = self.child.wait(60)
        self.reader.join()
        return code


@pytest.fixture
def process(tmp_path, pipeline):
    """How to start a server process on the tiny models."""
    pytest.importorskip("fastapi")
    started = []

    def start(*arguments, jobs=None):
        models = [
            "--detector",
            str(pipeline.detector),
            "--pose",
            str(pipeline.pose),
            "--threads",
            "1",
        ]
        server = Process([*models, *arguments], jobs or tmp_path / "jobs")
        started.append(server)
        return server

    yield start
    for server in started:
        server.end(signal.SIGKILL)
