"""The service over HTTP: what it answers, what it refuses, what it says about itself."""

import io
import json
import subprocess
import sys
import threading
import time
import zlib

import cv2
import numpy as np
import pytest
from conftest import ROOT
from serving import TOKEN

from rmpe.boxes import Boxes
from rmpe.pipeline import Estimator

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

EMPTY = b""


def post(client, body, path="/v1/poses", **more):
    return client("POST", path, content=body, **more)


def png(width, height):
    """A PNG whose header declares a size, and that is small in bytes however large that is."""

    def chunk(kind, data):
        whole = kind + data
        return len(data).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_a_photo_without_anybody(client):
    _, black = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))
    answer = post(client, black.tobytes()).json()
    assert answer["image"] == {"id": 1, "width": 64, "height": 64}
    assert isinstance(answer["people"], list)


def test_the_answer_is_what_the_command_writes(client, photo, pipeline, folder, tmp_path):
    models = ["--detector", str(pipeline.detector), "--pose", str(pipeline.pose)]
    formats = ["--format", "coco", "--format", "csv", "--format", "openpose"]
    command = ["predict", str(folder / "photo.png"), "--out", str(tmp_path / "out"), "--no-draw"]
    subprocess.run(
        [sys.executable, "-m", "rmpe", *command, *models, *formats, "--quiet"], check=True
    )
    written = {
        "coco": (tmp_path / "out" / "coco.json").read_bytes(),
        # The server does not know what the photo is called.
        "csv": (tmp_path / "out" / "poses.csv").read_bytes().replace(b"photo.png", b"photo"),
        "openpose": next((tmp_path / "out" / "openpose").iterdir()).read_bytes(),
    }
    answers = {form: post(client, photo, f"/v1/poses?format={form}").content for form in written}
    assert answers == written
    people = post(client, photo).json()["people"]
    assert len(people) == 1
    assert people == json.loads(written["coco"])


def test_raw_and_form_are_the_same(client, photo):
    raw = post(client, photo, "/v1/poses?format=coco").content
    form = client(
        "POST",
        "/v1/poses?format=coco",
        files={"other": ("x", b"not this"), "file": ("../../etc/passwd", photo)},
    )
    assert form.status_code == 200
    assert form.content == raw


def test_ids_and_least_score_are_the_callers(client, photo):
    answer = post(client, photo, "/v1/poses?format=coco&image_id=42").json()
    assert [person["image_id"] for person in answer] == [42]
    assert post(client, photo, "/v1/poses?format=coco&min_score=1").json() == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 422, "empty"),
        (b"hello", 415, "known kind"),
        (b"%PDF-1.7 and so on", 415, "known kind"),
        (png(30_000, 30_000), 422, "30000 x 30000 pixels"),
        (png(64, 64), 422, "PNG"),
        (b"\x89PNG\r\n\x1a\n", 422, "truncated PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(50), 422, "truncated JPEG"),
        (b"GIF89a\x10\0\x10\0" + bytes(9), 422, "GIF"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_line(client, body, status, says):
    answer = post(client, body)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert "/" not in answer.json()["error"].replace("and/or", "")
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx"),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=" + 300 * "b", b"x"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut off',
        ),
    ],
)
def test_a_broken_form_is_refused(client, content_type, body):
    answer = post(client, body, headers={"content-type": content_type})
    assert answer.status_code == 422
    assert "form" in answer.json()["error"]


@pytest.mark.parametrize(
    "query",
    ["format=xml", "min_score=2", "min_score=x", "image_id=-1", "image_id=1e99", "min_score=nan"],
)
def test_a_wrong_parameter_is_named(client, photo, query):
    answer = post(client, photo, f"/v1/poses?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(query.split("=")[0])


def test_too_large_is_refused_before_it_is_read(connect, photo):
    client = connect(max_upload=1000)
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 65536
            yield bytes(65536)

    declared = post(client, EMPTY, headers={"content-length": str(10**12)})
    assert declared.status_code == 413
    assert post(client, endless()).status_code == 413
    assert read < 10_000_000
    assert post(client, bytes(1001)).status_code == 413


class Slow(Estimator):
    """An estimator that works when it is let."""

    def __init__(self, estimator):
        self.__dict__.update(estimator.__dict__)
        self.opened = threading.Event()
        self.calls = 0

    def estimate_batch(self, images, boxes):
        self.calls += 1
        assert self.opened.wait(30)
        return super().estimate_batch(images, boxes)


def test_at_load_some_are_answered_and_the_rest_is_sent_away(connect, estimator, photo):
    slow = Slow(estimator)
    client = connect(slow, queue=3)
    calls = [("POST", "/v1/poses", {"content": photo})] * 12
    answers = client.many(calls, 8, slow.opened.set)
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 4 + [503] * 8
    assert all(
        int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 503
    )
    assert slow.calls == 4
    assert post(client, photo).status_code == 200
    text = client("GET", "/metrics").text
    assert 'rmpe_rejected_total{reason="full"} 8.0' in text
    assert 'rmpe_requests_total{route="/v1/poses",status="200"} 5.0' in text


def test_one_caller_gets_no_more_than_its_share(connect, estimator, photo):
    slow = Slow(estimator)
    client = connect(slow, per_client=2)
    calls = [("POST", "/v1/poses", {"content": photo})] * 5
    answers = client.many(calls, 3, slow.opened.set)
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [429] * 3


def test_what_does_not_begin_in_time_is_not_computed(connect, estimator, photo):
    slow = Slow(estimator)
    client = connect(slow, timeout=1.5)
    calls = [("POST", "/v1/poses", {"content": photo})] * 3
    answers = client.many(calls, 2, slow.opened.set)
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    assert slow.calls == 1


def test_a_body_that_does_not_come_is_given_up(connect):
    client = connect(timeout=0.2)

    async def stalled():
        import asyncio

        yield b"\x89PNG"
        await asyncio.sleep(30)

    assert post(client, stalled()).status_code == 408


def test_ready_means_a_photo_would_be_taken(connect, estimator, photo):
    slow = Slow(estimator)
    client = connect(slow, queue=1)
    assert client("GET", "/readyz").status_code == 200
    calls = [("POST", "/v1/poses", {"content": photo})] * 2
    probes = [("GET", "/healthz", {}), ("GET", "/readyz", {})]
    *_, alive, ready = client.many([*calls, *probes], 2, slow.opened.set)
    assert alive.status_code == 200
    assert ready.status_code in (200, 503)  # it may be asked before the photos are queued
    assert client("GET", "/readyz").status_code == 200


def test_a_broken_model_is_our_fault_and_says_nothing(connect, estimator, photo):
    class Broken(Slow):
        def estimate_batch(self, images, boxes):
            from rmpe.errors import ModelError

            raise ModelError("/secret/model.onnx: broken")

    answer = post(connect(Broken(estimator)), photo)
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_photos_share_a_call_when_told_to(connect, estimator, photo):
    seen = []

    class Batches(Slow):
        def estimate_batch(self, images, boxes):
            seen.append(len(images))
            return Estimator.estimate_batch(self, images, boxes)

    client = connect(Batches(estimator), batch_images=4, batch_wait=0.3)
    answers = client.many(
        [("POST", "/v1/poses?format=coco", {"content": photo})] * 3
        + [("POST", "/v1/poses?format=coco", {"content": png(64, 64)})]
    )
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422]
    assert len({answer.content for answer in answers[:3]}) == 1
    assert seen == [3]


# ---- who may call

OTHERS = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:9999"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"host": "evil.example"},
    {"host": "127.0.0.1.evil.example:8000"},
    {"host": ""},
]


@pytest.mark.parametrize("headers", OTHERS)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/poses"), ("GET", "/v1/models"), ("GET", "/metrics")]
)
def test_other_pages_and_other_names_are_refused(client, photo, headers, method, path):
    answer = client(method, path, content=photo, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:8000"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"host": "localhost:8000"},
        {"host": "[::1]:8000"},
        {"host": "192.168.1.7:8000"},
        {"host": "Pose.Example:443"},
    ],
)
def test_our_own_are_let_in(connect, headers):
    client = connect(hosts=("pose.example",))
    assert client("GET", "/v1/models", headers=headers).status_code == 200


def test_a_link_may_open_the_page_and_nothing_else(client):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client("GET", "/", headers=headers).status_code == 200
    assert client("GET", "/v1/models", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer ä",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/poses"),
        ("POST", "/v1/videos"),
        ("GET", "/v1/models"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("DELETE", "/v1/videos/" + 22 * "a"),
    ],
)
def test_without_a_valid_token_nothing_is_told(connect, given, method, path):
    client = connect(tokens=(TOKEN, "another-token-of-sixteen"), host="0.0.0.0")
    headers = {} if given is None else {"authorization": given.encode()}
    answer = client(method, path, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_with_a_token_everything_works_and_the_page_needs_none(connect, photo):
    client = connect(tokens=("another-token-of-sixteen", TOKEN), host="0.0.0.0")
    assert post(client, photo, headers={"authorization": f"bearer {TOKEN}"}).status_code == 200
    for path in ("/", "/static/app.js", "/healthz", "/readyz"):
        assert client("GET", path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/static/app.js", "/v1/models", "/healthz", "/nothing", "/v1/poses"]
)
def test_every_answer_has_safe_headers_and_opens_nothing(client, path):
    for origin in ({}, {"origin": "http://127.0.0.1:8000"}, {"host": "evil"}):
        headers = client("GET", path, headers=origin).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert not [name for name in headers if name.startswith("access-control")]


PASSWD = [
    "/../../etc/passwd",
    "/static/../../etc/passwd",
    "/static/..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/static/....//....//etc/passwd",
    "/static/..%5c..%5cetc%5cpasswd",
    "/static/%252e%252e%252fetc%252fpasswd",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/..;/etc/passwd",
    "/static/.%00./etc/passwd",
    "/static/%c0%ae%c0%ae/etc/passwd",
    "/static/__init__.py",
    "/static/../app.py",
    "/static/.",
    "/static/..",
    "/static/",
    "/static",
    "/static/index.html/",
    "/static/C:%5cwindows",
    "/v1/videos/../../etc/passwd",
    "/v1/videos/..%2f..%2fetc%2fpasswd",
    "/v1/videos/%2e%2e",
    "/v1/videos/lock",
    "/v1/videos/..",
    "/v1/videos/../result",
    "/v1/videos/%2e%2e/result?format=mp4",
    "/v1/videos/lock/result",
    "/v1/videos//result",
    "/v1/videos/.",
    "/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/etc/passwd",
    "/.git/config",
    "/.env",
    "/docs",
    "/redoc",
    "/openapi.yaml",
    "/favicon.ico/..",
    "/proc/self/environ",
]


@pytest.mark.parametrize("path", PASSWD)
def test_no_spelling_of_a_path_leaves_the_page(client, path):
    status, body = client.raw(path)
    assert status in (307, 404, 405, 422)
    assert b"root:" not in body


# ---- what it says about itself


def test_the_page_is_small_and_asks_nobody_else(client):
    import re
    from importlib import resources

    files = [
        file.read_text("utf-8") for file in (resources.files("rmpe.serve") / "static").iterdir()
    ]
    assert sum(len(text.encode()) for text in files) <= 60_000
    for text in files:
        foreign = {found for found in re.findall(r"https?://[^\s\"'`)]+", text)}
        assert foreign <= {"http://www.w3.org/2000/svg"}
    page = client("GET", "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    again = client("GET", "/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_models_and_limits(client):
    about = client("GET", "/v1/models").json()
    assert [model["kind"] for model in about["models"]] == ["detector", "pose"]
    assert all(len(model["sha256"]) == 64 for model in about["models"])
    assert about["skeleton"]["joints"] == ["left_red", "right_green", "nose"]
    assert about["limits"]["photo_bytes"] == 20_000_000


def test_the_description_names_every_route(client):
    paths = client("GET", "/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/poses", "/v1/videos", "/v1/videos/{id}", "/v1/videos/{id}/result", "/v1/models",
        "/healthz", "/readyz", "/metrics",
    }  # fmt: skip


def test_a_misspelt_parameter_is_refused(client, photo):
    answer = client("POST", "/v1/poses?minscore=0.3", content=photo)
    assert answer.status_code == 422
    assert (
        answer.json()["error"] == "minscore: no such parameter; known: format, min_score, image_id"
    )


def test_the_log_has_no_names_and_no_tokens(connect, photo, caplog):
    import logging

    caplog.set_level(logging.INFO, "rmpe.serve")
    client = connect(tokens=(TOKEN,))
    client(
        "POST",
        "/v1/poses?image_id=424242",
        files={"file": ("my-secret-name.png", photo)},
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    line = json.loads(caplog.messages[-1])
    assert set(line) == {"id", "method", "route", "status", "bytes", "people", "ms"}
    assert (line["route"], line["status"], line["people"]) == ("/v1/poses", 200, 1)
    assert "secret" not in caplog.text and "424242" not in caplog.text and TOKEN not in caplog.text


# ---- as a process


def test_the_process_answers_and_ends_well(process, photo):
    server = process()
    assert httpx.post(f"{server.url}/v1/poses", content=photo).status_code == 200
    with httpx.Client() as kept:
        kept.get(f"{server.url}/")
        code = server.end()
    assert code in (-15, 143)
    assert "Traceback" not in "".join(server.lines)


@pytest.mark.parametrize("chunked", [False, True])
def test_413_reaches_a_caller_who_is_still_sending(process, chunked):
    server = process("--max-upload", "1MB")
    body = io.BytesIO(bytes(3_000_000))
    content = iter(lambda: body.read(65536), b"") if chunked else body.getvalue()
    answer = httpx.post(f"{server.url}/v1/poses", content=content)
    assert answer.status_code == 413
    assert "larger" in answer.json()["error"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "--token-file"),
        (["--certfile", __file__], "--keyfile"),
        (["--max-upload", "lots"], "not an amount"),
        (["--detector", "nothing.onnx"], "no such model"),
        (["--token-file", __file__], "ASCII"),
    ],
)
def test_wrong_use_is_said_in_one_line(arguments, says, tmp_path):
    command = [sys.executable, "-m", "rmpe", "serve", "--port", "0", "--jobs", str(tmp_path)]
    done = subprocess.run(
        [*command, *arguments], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_caller_that_sends_no_headers_is_hung_up_on(process, photo, monkeypatch):
    import socket

    server = process()
    with socket.create_connection(("127.0.0.1", server.port)) as lazy:
        lazy.sendall(b"POST /v1/poses HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        began = time.monotonic()
        assert httpx.post(f"{server.url}/v1/poses", content=photo).status_code == 200
        lazy.settimeout(60)
        assert lazy.recv(100) == b""
        assert time.monotonic() - began > 1


def test_nobody_is_still_a_batch(estimator):
    assert estimator.estimate_batch([], []) == []
    assert len(estimator.estimate(np.zeros((64, 64, 3), np.uint8), Boxes.empty())) == 0
