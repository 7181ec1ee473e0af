"""A run whose photos and results lie in S3, which fails now and then."""

import json
import threading

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from rmpe.farm import storage as storage_module
from rmpe.farm.manifest import read_run
from rmpe.farm.storage import open_storage

pytest_plugins = ["farming"]
EVERY = 20


class Faulty:
    """Every 20th request is answered 503, until told otherwise; ``dead``: all are."""

    def __init__(self, application):
        self._application = application
        self._lock = threading.Lock()
        self.requests = 0
        self.faults = 0
        self.every = 0

    def __call__(self, environ, start_response):
        with self._lock:
            self.requests += 1
            fault = self.every and self.requests % self.every == 0
            self.faults += bool(fault)
        if not fault:
            return self._application(environ, start_response)
        start_response("503 Slow Down", [("Content-Type", "text/xml")])
        return [b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"]


@pytest.fixture
def s3(monkeypatch):
    faulty = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faulty, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket="photos")
    yield faulty
    server.shutdown()
    thread.join()


@pytest.fixture
def uploaded(s3, photos):
    for photo in sorted(photos.rglob("*.png")):
        boto3.client("s3").upload_file(
            str(photo), "photos", f"2026/{photo.relative_to(photos).as_posix()}"
        )
    return "s3://photos/2026"


@pytest.mark.slow
def test_s3_that_fails_every_twentieth_time(tmp_path, rmpe, models, s3, uploaded):
    """Planned, done and merged in S3: coco.json is that of predict over the same addresses."""
    s3.every = EVERY
    out = "s3://photos/run"
    result = rmpe("plan", uploaded, "--out", out, "--shard", 4, *models)
    assert result.exit_code == 0, result.exception
    result = rmpe("run", out, "--workers", 2)
    assert result.exit_code == 0, result.exception
    status = json.loads(rmpe("status", out, "--json").stdout)
    assert (status["photos_done"], status["photos_failed"], status["shards_failed"]) == (10, 0, 0)
    assert rmpe("merge", out, "--out", f"{out}/merged").exit_code == 0
    assert s3.faults >= 2
    s3.every = 0
    merged = open_storage(f"{out}/merged").read("coco.json")
    arguments = ["--out", tmp_path / "predicted", "--no-draw", "--threads", 1, *models]
    assert rmpe("predict", uploaded, *arguments).exit_code == 0
    assert merged == (tmp_path / "predicted" / "coco.json").read_bytes()
    assert len(json.loads(merged)) == 10


def test_a_photo_that_is_gone_is_a_row(rmpe, models, s3, uploaded):
    out = "s3://photos/gone"
    assert rmpe("plan", uploaded, "--out", out, "--shard", 4, *models).exit_code == 0
    boto3.client("s3").delete_object(Bucket="photos", Key="2026/3.png")
    result = rmpe("run", out)
    assert (result.exit_code, result.stderr.count("failed: ")) == (1, 1)
    assert "s3://photos/2026/3.png: cannot read the file" in result.stderr


@pytest.mark.slow
def test_a_storage_that_is_dead_is_one_line(monkeypatch, rmpe, models, s3, uploaded):
    monkeypatch.setattr(storage_module, "FIRST_WAIT", 0.0)
    out = "s3://photos/dead"
    assert rmpe("plan", uploaded, "--out", out, *models).exit_code == 0
    assert read_run(open_storage(out)).photos == 10
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3.every = 1
    result = rmpe("status", out)
    assert "s3://photos/dead: " in str(result.exception)
    assert "(tried 5 times)" in str(result.exception)
