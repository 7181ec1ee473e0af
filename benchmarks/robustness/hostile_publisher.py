"""A publisher of models that does everything wrong, and what `rmpe models get` makes of it.

Every fault is tried several times, with the ONNX file itself and with a zip file around it. A try
is right if the right file is installed, or nothing is and the reason is one line. The server
listens on the loopback interface only.
"""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import numpy as np
from onnx import TensorProto, helper, numpy_helper

import rmpe.download
from benchmarks.options import benchmark
from benchmarks.record import ROOT, record
from rmpe.catalogue import Catalogue, read_catalogue
from rmpe.download import Limits
from rmpe.errors import ModelError
from rmpe.install.get import get_model

WEIGHTS = 1_500_000  # bytes that make the model large enough to be cut in its middle
QUICK = Limits(silence=0.3, window=0.5, slowest=4096, total=20, tries=3, most_tries=6, pause=0.005)
NAME = "person-boxes"


@cache
def made_model(seed: int = 0) -> bytes:
    """An ONNX detector of the form ``nms-boxes`` that finds one person in every image."""
    dets = np.array([[[8, 8, 40, 56, 0.9]]], np.float32)
    weights = np.random.default_rng(seed).normal(size=WEIGHTS // 4).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("ReduceMean", ["weights"], ["weight"], keepdims=0),
        helper.make_node("Mul", ["mean", "weight"], ["some"]),
        helper.make_node("Mul", ["some", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["dets"]),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, 1, 5])],
        [
            numpy_helper.from_array(array, name)
            for name, array in (
                ("rows", dets),
                ("weights", weights),
                ("zero", np.array(0, np.float32)),
            )
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


def zipped(model: bytes, member: str = "20230831/end2end.onnx", **others: bytes) -> bytes:
    """A publisher's zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, model)
        archive.writestr("20230831/pipeline.json", "{}")
        for name, data in others.items():
            archive.writestr(name, data)
    return packed.getvalue()


@dataclass
class Behaviour:
    """How the server answers a request for one path.

    Attributes:
        body: The file.
        tag: Its ETag; empty = none.
        ranges: Whether it can begin in the middle.
        cut: Share of an answer after which the connection ends; 1 = whole.
        cuts: How many answers are cut.
        codes: Answers before the first proper one; the last is repeated if ``forever``.
        forever: Whether every answer has the last of ``codes``.
        length: Added to the Content-Length it promises.
        endless: Whether it goes on sending.
        location: Where it redirects to.
        pause: Seconds between two pieces.
        piece: Bytes of a piece.
        hang: Whether it never answers.
        raw: Bytes that it answers instead of HTTP.
        wrong_range: Whether it answers with another part than asked for.
        chunked: Whether it sends chunks, the last of which is missing.
        changes: Whether its file is another one at every request.
        encoding: Content-Encoding that it claims.
    """

    body: bytes
    tag: str = '"1"'
    ranges: bool = True
    cut: float = 1.0
    cuts: int = 1000
    codes: tuple[int, ...] = ()
    forever: bool = False
    length: int = 0
    endless: bool = False
    location: str = ""
    pause: float = 0.0
    piece: int = 1 << 16
    hang: bool = False
    raw: bytes = b""
    wrong_range: bool = False
    chunked: bool = False
    changes: bool = False
    encoding: str = ""


class Publisher:
    """A server on the loopback interface; ``paths`` says how it behaves.

    Attributes:
        paths: Path -> behaviour.
        asked: Path -> requests.
        began: Path -> first byte of the file in each answer that sends some of it.
    """

    def __init__(self) -> None:
        self.paths: dict[str, Behaviour] = {}
        self.asked: Counter[str] = Counter()
        self.began: defaultdict[str, list[int]] = defaultdict(list)
        self.stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                self.close_connection = True
                with suppress(BrokenPipeError, ConnectionResetError):
                    outer.answer(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        how = self.paths.get(path)
        number = self.asked[path]
        self.asked[path] += 1
        if how is None:
            request.send_error(404)
        elif how.hang:
            self.stop.wait(30)
        elif how.raw:
            request.wfile.write(how.raw)
        elif how.forever or number < len(how.codes):
            code = how.codes[min(number, len(how.codes) - 1)]
            request.send_response(code)
            request.send_header("Content-Length", "0")
            request.end_headers()
        elif how.location:
            request.send_response(302)
            request.send_header("Location", how.location)
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            self._file(request, how, number)

    def _file(self, request: BaseHTTPRequestHandler, how: Behaviour, number: int) -> None:
        tag = f'"{number}"' if how.changes else how.tag
        body = made_model(100 + number) if how.changes else how.body
        start = 0
        asked = request.headers.get("Range", "")
        if asked and how.ranges and request.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(body) > 0:
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        rest = body[start:]
        self.began[request.path].append(start)
        request.send_response(206 if start else 200)
        if start:
            first = start // 2 if how.wrong_range else start
            span = f"bytes {first}-{len(body) - 1}/{len(body)}"
            request.send_header("Content-Range", span)
        if tag:
            request.send_header("ETag", tag)
        if how.encoding:
            request.send_header("Content-Encoding", how.encoding)
        if how.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        elif not how.endless:
            request.send_header("Content-Length", str(len(rest) + how.length))
        request.end_headers()
        if how.chunked:
            rest = b"%x\r\n" % len(rest) + rest
        share = how.cut if number < how.cuts else 1.0
        self._send(request, how, rest[: round(len(rest) * share)])
        while how.endless and not self.stop.is_set():
            self._send(request, how, bytes(1 << 16))

    def _send(self, request: BaseHTTPRequestHandler, how: Behaviour, data: bytes) -> None:
        for start in range(0, len(data), how.piece):
            piece = data[start : start + how.piece]
            request.wfile.write(piece)
            request.wfile.flush()
            if how.pause and self.stop.wait(how.pause):
                return


def made_catalogue(address: str, *, zip_file: bool, pinned: bool = True) -> Catalogue:
    """A catalogue of the made model, at the address and, as a mirror, below ``/mirror``."""
    model = made_model()
    file = "m.zip" if zip_file else "m.onnx"
    hashes = f'sha256 = "{hashlib.sha256(model).hexdigest()}"\nsources = 3\n' if pinned else ""
    member = 'member = "end2end.onnx"\n' if zip_file else ""
    return read_catalogue(
        f"""
        bundles = {{}}
        [places]
        here = ["{address}/", "{address}/mirror/"]
        [[models]]
        name = "{NAME}"
        place = "here"
        file = "{file}"
        bytes = {len(model)}
        {member}
        {hashes}
        people = "nobody"
        ap = 1.0
        measure = "nothing"
        ap_source = "nowhere"
        cite = "nobody"
        card = {{ kind = "detector", name = "made", decoder = "nms-boxes", license = "CC0" }}
        """,
        "made catalogue",
    )


def behaviours(zip_file: bool, address: str) -> dict[str, dict[str, Behaviour]]:
    """Name of the fault -> path below the server -> behaviour."""
    model = made_model()
    body = zipped(model) if zip_file else model
    good = Behaviour(body)
    file = "/m.zip" if zip_file else "/m.onnx"
    other_model = made_model(1)
    other = zipped(other_model) if zip_file else other_model
    elsewhere = address.replace("127.0.0.1", "localhost") + "/elsewhere"
    faults: dict[str, Behaviour] = {
        "none": good,
        "cut after 30 %": replace(good, cut=0.3, cuts=1),
        "cut after 90 %": replace(good, cut=0.9, cuts=1),
        "cut after 30 %, no ranges": replace(good, cut=0.3, cuts=1, ranges=False),
        "cut after 30 %, always": replace(good, cut=0.3),
        "cut after 90 %, always": replace(good, cut=0.9),
        "cut after 30 %, always, no ranges": replace(good, cut=0.3, ranges=False),
        "cut after 90 %, no ETag": replace(good, cut=0.9, tag=""),
        "cut, and the file changes": replace(good, cut=0.5, cuts=1, changes=True),
        "cut, then another part than asked for": replace(good, cut=0.5, cuts=1, wrong_range=True),
        "403": replace(good, codes=(403,), forever=True),
        "404": replace(good, codes=(404,), forever=True),
        "416": replace(good, codes=(416,), forever=True),
        "500": replace(good, codes=(500,), forever=True),
        "500, then right": replace(good, codes=(500, 503)),
        "promises more bytes": replace(good, length=1000),
        "promises fewer bytes": replace(good, length=-1000),
        "endless body": replace(good, endless=True),
        "redirect to another host": replace(good, location=elsewhere),
        "redirect to file://": replace(good, location="file:///etc/passwd"),
        "redirect to ftp://": replace(good, location="ftp://127.0.0.1:1/m.onnx"),
        "redirect to itself": replace(good, location=address + file),
        "redirect to nonsense": replace(good, location="http://[::bad"),
        "1 kB/s": replace(good, pause=0.2, piece=200),
        "never answers": replace(good, hang=True),
        "garbage instead of HTTP": replace(good, raw=b"\0\1garbage\r\n\r\n"),
        "a header without end": replace(good, raw=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000),
        "a last chunk that is missing": replace(good, chunked=True),
        "claims to be compressed": replace(good, encoding="gzip"),
        "other bytes": replace(good, body=other),
        "other bytes of the same length": replace(good, body=body[:-9] + b"\0" * 9),
        "an empty file": replace(good, body=b""),
        "a web page": replace(good, body=b"<html>please log in</html>"),
    }
    if zip_file:
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("end2end.onnx", bytes(200_000_000))
        encrypted = bytearray(body)
        for place in (body.find(b"PK\x03\x04") + 6, body.find(b"PK\x01\x02") + 8):
            encrypted[place] |= 1
        broken = bytearray(body)
        broken[2000:2010] = b"\xff" * 10
        offset = bytearray(body)
        end = body.rfind(b"PK\x05\x06")
        offset[end + 16 : end + 20] = b"\xff\xff\xff\x7f"
        faults |= {
            "zip: another member": replace(good, body=zipped(model, "other.onnx")),
            "zip: two such members": replace(
                good, body=zipped(model, **{"twin/end2end.onnx": model})
            ),
            "zip: member outside its folder": replace(
                good, body=zipped(model, "../../../end2end.onnx")
            ),
            "zip: 200 MB in 200 kB": replace(good, body=bomb.getvalue()),
            "zip: encrypted": replace(good, body=bytes(encrypted)),
            "zip: broken deflate": replace(good, body=bytes(broken)),
            "zip: broken offset": replace(good, body=bytes(offset)),
            "zip: cut short": replace(good, body=body[: len(body) // 2]),
        }
    cases = {
        name: {file: how, "/elsewhere": good, f"/mirror{file}": replace(how)}
        for name, how in faults.items()
    }
    cases["other bytes, right at the mirror"] = {
        file: replace(good, body=other),
        f"/mirror{file}": good,
    }
    cases["404, right at the mirror"] = {f"/mirror{file}": good}
    return cases


def verdict(home: Path, error: str | None) -> str:
    """``right file``, ``refused``, or what is wrong."""
    model = home / "models" / f"{NAME}.onnx"
    if model.is_file():
        right = hashlib.sha256(model.read_bytes()).hexdigest() == RIGHT
        if not right or error is not None or not model.with_suffix(".toml").is_file():
            return "WRONG FILE"
        return "right file"
    if error is None:
        return "NOTHING AND NO REASON"
    return "refused" if "\n" not in error and len(error) < 1500 else "NOT ONE LINE"


RIGHT = hashlib.sha256(made_model()).hexdigest()


def attempt(catalogue: Catalogue, home: Path) -> str | None:
    """One `rmpe models get`; the reason if it failed."""
    os.environ["RMPE_HOME"] = str(home)
    try:
        get_model(catalogue.models[0], catalogue=catalogue)
    except ModelError as error:
        return str(error)
    return None


def try_all(tries: int) -> dict[str, Counter[str]]:
    """Every fault several times, with and without a zip file around the model."""
    results: dict[str, Counter[str]] = {}
    for zip_file in (False, True):
        with Publisher() as publisher:
            cases = behaviours(zip_file, publisher.address)
            catalogue = made_catalogue(publisher.address, zip_file=zip_file)
            for name, paths in cases.items():
                for _ in range(tries):
                    publisher.paths = paths
                    publisher.asked.clear()
                    with tempfile.TemporaryDirectory() as folder:
                        error = attempt(catalogue, Path(folder))
                        results.setdefault(name, Counter())[verdict(Path(folder), error)] += 1
    return results


SCRIPT = """
import sys
from pathlib import Path
from benchmarks.robustness import hostile_publisher as h
from rmpe.install.get import get_model
catalogue = h.made_catalogue(sys.argv[1], zip_file=True)
print(get_model(catalogue.models[0], catalogue=catalogue).state)
"""


def process(address: str, home: Path) -> subprocess.Popen[str]:
    """`rmpe models get` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, address],
        cwd=ROOT,
        env=os.environ | {"RMPE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def try_two_processes() -> tuple[str, int]:
    """What two processes make of it that want the same model at once, and the downloads."""
    with Publisher() as publisher, tempfile.TemporaryDirectory() as folder:
        body = zipped(made_model())
        publisher.paths = {"/m.zip": Behaviour(body, pause=0.02, piece=20_000)}
        both = [process(publisher.address, Path(folder)) for _ in range(2)]
        answers = sorted(one.communicate()[0].strip() for one in both)
        found = verdict(Path(folder), None)
        both_there = answers == ["already there", "installed"]
        return found if both_there else f"WRONG: {answers}", publisher.asked["/m.zip"]


def try_kills(kills: int) -> Counter[str]:
    """Kill the process at some moment, look at what is there; then let it finish."""
    results: Counter[str] = Counter()
    chance = random.Random(0)
    with Publisher() as publisher:
        publisher.paths = {"/m.zip": Behaviour(zipped(made_model()), pause=0.02, piece=20_000)}
        # A start without a kill says over which time the moments are spread.
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            process(publisher.address, Path(folder)).communicate()
            lasts = time.perf_counter() - started
        while results.total() < kills:
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder)
                while results.total() < kills and not installed(home):
                    running = process(publisher.address, home)
                    time.sleep(chance.uniform(0.3, 1.05) * lasts)
                    running.send_signal(signal.SIGKILL)
                    running.communicate()
                    results[verdict(home, None if installed(home) else "killed")] += 1
                answer = process(publisher.address, home).communicate()
                if verdict(home, None) != "right file":
                    results[f"WRONG AFTERWARDS {answer}"] += 1
    return results


def installed(home: Path) -> bool:
    return (home / "models" / f"{NAME}.onnx").is_file()


@benchmark("save")
@click.option("--tries", default=3, show_default=True, help="Of every fault.")
@click.option("--kills", default=50, show_default=True)
def main(tries: int, kills: int, save: bool) -> None:
    rmpe.download.LIMITS = QUICK
    results = try_all(tries)
    found, downloads = try_two_processes()
    results["two processes at once"] = Counter({found: 1})
    results[f"kill -9, {kills} times"] = try_kills(kills)
    rows = []
    for name, outcomes in results.items():
        good = {"right file", "refused"}
        wrong = sum(count for outcome, count in outcomes.items() if outcome not in good)
        rows.append([name, outcomes.total(), outcomes["right file"], outcomes["refused"], wrong])
        print(json.dumps(rows[-1]), dict(outcomes) if wrong else "", flush=True)
    print(f"two processes: {downloads} download")
    if save:
        record(
            "hostile_publisher",
            title="Downloads from a publisher that does everything wrong",
            data="a made model of 1.5 MB on a loopback server, as an ONNX file and in a zip file",
            columns=["fault", "tries", "right file installed", "refused in one line", "wrong"],
            rows=rows,
            notes="Wrong is another file under the name, a traceback, silence, or several lines. "
            f"Two processes at once made {downloads} download.",
        )


if __name__ == "__main__":
    main()
