"""`rmpe serve` against the library, at load, and under attack: on the loopback, in one run.

    python -m benchmarks.serve.acceptance [--seconds 60] [--only NAME]... [--save]

The server is a process of its own with the models that ship; callers are threads of this one, on
the same cores, so what they cost is taken from the server.
"""

import http.client
import itertools
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib.metadata import distribution, requires
from pathlib import Path
from re import match

import click
import cv2
import numpy as np
import psutil

import rmpe
from benchmarks.options import DATA
from benchmarks.record import show
from rmpe.media.sources import find_images
from rmpe.serve.answers import encode
from rmpe.serve.engine import Found

CLIENTS = 8
OVERLOAD = 80
LAZY = 100
FUZZED = 10_000
COMMAND = "python -m benchmarks.serve.acceptance"


class Server:
    """``rmpe serve`` on a free port; the time until its page was there."""

    def __init__(self, folder, *arguments):
        command = [
            sys.executable,
            "-m",
            "rmpe",
            "serve",
            "--port",
            "0",
            "--jobs",
            str(folder / "jobs"),
        ]
        self.log = (folder / "log").open("w+")
        began = time.perf_counter()
        self.child = subprocess.Popen([*command, *arguments], stderr=self.log)
        self.port = self._port(folder / "log")
        assert self.call("GET", "/")[0] == 200
        self.start_seconds = time.perf_counter() - began
        self.process = psutil.Process(self.child.pid)
        self.start_cpu = sum(self.process.cpu_times()[:2])

    def _port(self, log):
        while not (found := match(r"rmpe serve: http://127.0.0.1:(\d+)", log.read_text())):
            assert self.child.poll() is None, log.read_text()
            time.sleep(0.02)
        return int(found[1])

    def call(self, method, path, body=None, headers=None, connection=None):
        """Status and body; a connection that is given is kept open."""
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        own.request(method, path, body, headers or {})
        answer = own.getresponse()
        data = answer.read()
        if connection is None or answer.will_close:
            own.close()
        return answer.status, data

    @property
    def cpu(self):
        return sum(self.process.cpu_times()[:2])

    @property
    def rss(self):
        return self.process.memory_info().rss / 1e6

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
            self.child.wait(60)
        self.log.close()


def together(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def load(server, photos, clients, seconds):
    """What callers saw who ask without pause: [(status, seconds)], and how long it took."""
    seen = []
    turn = itertools.count()
    end = time.perf_counter() + seconds

    def client(_):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        while time.perf_counter() < end:
            photo = photos[next(turn) % len(photos)]
            began = time.perf_counter()
            status, _body = server.call("POST", "/v1/poses", photo, connection=connection)
            seen.append((status, time.perf_counter() - began))

    began = time.perf_counter()
    together(clients, client)
    return seen, time.perf_counter() - began


def size(_folder, _photos, _paths, _seconds):
    """Megabytes that the extra adds to what rmpe has already."""

    def closure(names):
        found = set()
        while names:
            name = names.pop()
            if name in found:
                continue
            try:
                needs = requires(name) or []
            except Exception:  # noqa: BLE001 - a package for another system
                continue
            found.add(name)
            names |= {
                match(r"[\w.-]+", need)[0].lower() for need in needs if "extra ==" not in need
            }
        return found

    named = [need for need in requires("rmpe") if 'extra == "serve"' in need.replace("'", '"')]
    if not named:
        named = ["fastapi", "uvicorn", "python-multipart", "prometheus-client"]
    core = closure({"rmpe"})
    added = closure({match(r"[\w.-]+", need)[0].lower() for need in named}) - core
    files = {
        Path(file.locate())
        for name in added
        for file in distribution(name).files or ()
        if file.suffix != ".pyc"
    }
    megabytes = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    yield ["the extra adds, MB", "<= 15", round(megabytes, 1), megabytes <= 15]


def start(folder, _photos, _paths, _seconds):
    server = Server(folder)
    seconds = server.start_seconds
    yield [
        "seconds until the page is there",
        "<= 2 on quiet cores",
        round(seconds, 2),
        seconds <= 2,
    ]
    yield ["CPU seconds until the page is there", "-", round(server.start_cpu, 2), None]
    server.end()


def same(folder, photos, paths, _seconds):
    """The answer against what `rmpe predict` writes for the same photo alone."""
    server = Server(folder)
    estimator = rmpe.load()
    equal = 0
    for photo, path in zip(photos, paths, strict=True):
        image = rmpe.read_image(path)
        found = Found(estimator(image), image.shape[:2], {})
        expected, _ = encode(found, "coco", 1, 0.0, {})
        equal += server.call("POST", "/v1/poses?format=coco", photo)[1] == expected
    server.end()
    yield [
        "photos with the library's answer, byte by byte",
        f"{len(photos)}",
        equal,
        equal == len(photos),
    ]


def throughput(folder, photos, paths, seconds):
    server = Server(folder, "--queue", "64")
    load(server, photos, CLIENTS, 2)
    estimator = rmpe.load(workers=psutil.cpu_count())
    list(rmpe.stream(estimator, paths[:4]))
    count = [0, 0]
    spent = [0.0, 0.0]
    cpu = [0.0, 0.0]
    for _ in range(4):  # in turns, so that a disturbance hits both
        before = server.cpu
        seen, taken = load(server, photos, CLIENTS, seconds / 4)
        assert {status for status, _ in seen} == {200}, Counter(status for status, _ in seen)
        count[0] += len(seen)
        spent[0] += taken
        cpu[0] += server.cpu - before
        before = time.process_time()
        began = time.perf_counter()
        for _ in rmpe.stream(estimator, itertools.cycle(paths)):
            count[1] += 1
            if time.perf_counter() - began >= seconds / 4:
                break
        spent[1] += time.perf_counter() - began
        cpu[1] += time.process_time() - before
    server.end()
    rates = [count[side] / spent[side] for side in (0, 1)]
    each = [cpu[side] / count[side] for side in (0, 1)]
    yield [f"photos a second, {CLIENTS} callers", "-", round(rates[0], 2), None]
    yield ["photos a second, rmpe.stream", "-", round(rates[1], 2), None]
    yield [
        "rate against rmpe.stream",
        ">= 0.9",
        round(rates[0] / rates[1], 3),
        rates[0] >= 0.9 * rates[1],
    ]
    yield ["CPU seconds a photo, server", "-", round(each[0], 4), None]
    yield ["CPU seconds a photo, rmpe.stream", "-", round(each[1], 4), None]
    yield [
        "CPU against rmpe.stream",
        "<= 1.1",
        round(each[0] / each[1], 3),
        each[0] <= 1.1 * each[1],
    ]


def overload(folder, photos, _paths, seconds):
    server = Server(folder)
    load(server, photos, 2, 3)
    idle = server.rss
    peak = [idle]
    stop = threading.Event()

    def watch():
        while not stop.wait(0.2):
            peak[0] = max(peak[0], server.rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    seen, _ = load(server, photos, OVERLOAD, seconds)
    began = time.perf_counter()
    status, _body = server.call("POST", "/v1/poses", photos[0])
    normal = time.perf_counter() - began
    stop.set()
    watcher.join()
    server.end()
    codes = Counter(status for status, _ in seen)
    refused = [1000 * taken for status, taken in seen if status == 503]
    answered = [taken for status, taken in seen if status == 200]
    p99 = float(np.percentile(refused, 99)) if refused else 0.0
    p95 = float(np.percentile(answered, 95))
    text = ", ".join(f"{count} x {status}" for status, count in sorted(codes.items()))
    yield [f"answers to {OVERLOAD} callers", "200, 429, 503", text, set(codes) <= {200, 429, 503}]
    yield ["p99 of the 503s, ms", "<= 100", round(p99, 1), p99 <= 100]
    yield ["p95 of the 200s, s", "<= 30", round(p95, 2), p95 <= 30]
    yield ["most memory, times idle", "<= 1.5", round(peak[0] / idle, 2), peak[0] <= 1.5 * idle]
    yield [
        "seconds of a photo right after",
        "<= 2",
        round(normal, 2),
        status == 200 and normal <= 2,
    ]


def lazy(folder, photos, _paths, _seconds):
    server = Server(folder, "--max-upload", "20MB")
    head = b"POST /v1/poses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"
    lazies = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(LAZY)]
    for number, lazy_one in enumerate(lazies):
        lazy_one.sendall(head if number % 2 else head[:40])
    answered = 0
    for _ in range(5):
        for lazy_one in lazies:
            lazy_one.send(b"x")
        answered += server.call("POST", "/v1/poses", photos[0])[0] == 200
        time.sleep(1)
    for lazy_one in lazies:
        lazy_one.close()
    yield [f"photos answered beside {LAZY} connections of 1 byte/s", "5", answered, answered == 5]
    reached = 0
    large = folder / "large"
    for megabytes, chunked in ((21, False), (21, True), (1000, False), (1000, True)):
        with large.open("wb") as file:
            file.truncate(megabytes * 1_000_000)
        for way in (_curl, _httpx):
            reached += (
                way(f"http://127.0.0.1:{server.port}/v1/poses", large, chunked=chunked) == 413
            )
    server.end()
    yield [
        "413 reaches curl and httpx, 21 MB and 1 GB, whole and chunked",
        "8",
        reached,
        reached == 8,
    ]


def _curl(url, file, *, chunked):
    more = ["-H", "Transfer-Encoding: chunked"] if chunked else []
    command = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-X",
        "POST",
        "-T",
        str(file),
        *more,
        url,
    ]
    return int(subprocess.run(command, capture_output=True, text=True, check=False).stdout or 0)


def _httpx(url, file, *, chunked):
    import httpx

    with file.open("rb") as body:
        parts = iter(lambda: body.read(1 << 16), b"")
        length = {} if chunked else {"content-length": str(file.stat().st_size)}
        try:
            return httpx.post(url, content=parts, headers=length, timeout=60).status_code
        except httpx.TransportError:
            return 0


def fuzz(folder, photos, _paths, _seconds):
    """Damaged photos and forms, wrong headers, bombs."""
    server = Server(folder, "--queue", "64")
    random = np.random.default_rng(0)
    small = [
        _small(photo, ending)
        for photo in photos[:2]
        for ending in (".jpg", ".png", ".webp", ".bmp")
    ]
    kinds = [
        "image/jpeg",
        "multipart/form-data",
        "multipart/form-data; boundary=b",
        "x",
        "text/plain; a=\x80",
    ]
    codes = Counter()
    turn = itertools.count()

    def client(number):
        own = np.random.default_rng(number)
        while next(turn) < FUZZED:
            body = bytearray(small[own.integers(len(small))])
            for _ in range(own.integers(1, 20)):
                body[own.integers(len(body))] = own.integers(256)
            body = body[: own.integers(len(body))] if own.random() < 0.3 else body
            kind = kinds[own.integers(len(kinds))]
            if kind.endswith("boundary=b"):
                form = (
                    b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
                    + body
                    + b"\r\n--b--\r\n"
                )
                body = form[: own.integers(len(form))] if own.random() < 0.5 else form
            query = [
                "",
                "?format=csv",
                "?format=x",
                "?min_score=2",
                "?image_id=%00",
                "?image_id=7",
            ][own.integers(6)]
            codes[
                server.call("POST", f"/v1/poses{query}", bytes(body), {"Content-Type": kind})[0]
            ] += 1

    together(4, client)
    faults = sum(count for status, count in codes.items() if status >= 500 and status != 503)
    text = ", ".join(f"{count} x {status}" for status, count in sorted(codes.items()))
    yield [f"answers to {sum(codes.values())} damaged bodies", "no 5xx but 503", text, faults == 0]
    peak = server.rss
    refused = 0
    bombs = _bombs(random)
    for bomb in bombs:
        refused += server.call("POST", "/v1/poses", bomb)[0] == 422
        peak = max(peak, server.rss)
    traces = (folder / "log").read_text().count("Traceback")
    left = [path for path in (folder / "jobs").iterdir() if path.name != "lock"]
    server.end()
    yield [
        "bombs refused (PNG, JPEG, WebP, GIF, TIFF, BMP)",
        str(len(bombs)),
        refused,
        refused == len(bombs),
    ]
    yield ["memory at the bombs, MB", "<= 500", round(peak), peak <= 500]
    yield [
        "tracebacks in the log, files left",
        "0, 0",
        f"{traces}, {len(left)}",
        not traces and not left,
    ]


def _small(photo, ending):
    image = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(ending, cv2.resize(image, (160, 120)))[1].tobytes()


def _bombs(_random):
    """Small files that declare 30,000 x 30,000 pixels, or as many as their kind can."""
    blank = np.zeros((8, 8, 3), np.uint8)
    side = (30_000).to_bytes(4, "big")
    bombs = []
    for ending, place, patch in (
        (".png", b"IHDR", side + side),
        (".gif", b"GIF89a", 2 * (30_000).to_bytes(2, "little")),
        (".webp", None, None),
        (".jpg", b"\xff\xc0\x00\x11\x08", 2 * (30_000).to_bytes(2, "big")),
        (".bmp", None, None),
        (".tif", None, None),
    ):
        if place is None:
            whole = np.zeros((9000, 9000), np.uint8) if ending != ".bmp" else blank
            data = bytearray(cv2.imencode(ending, whole)[1].tobytes())
            if ending == ".bmp":
                data[18:26] = 2 * (30_000).to_bytes(4, "little")
        else:
            try:
                data = bytearray(cv2.imencode(ending, blank)[1].tobytes())
            except cv2.error:  # this OpenCV writes no GIF
                data = bytearray(b"GIF89a" + bytes(100))
            at = data.find(place) + len(place)
            data[at : at + len(patch)] = patch
        bombs.append(bytes(data))
    return bombs


def sigterm(folder, photos, _paths, _seconds):
    server = Server(folder, "--workers", "8")
    server.call("POST", "/v1/poses", photos[0])
    codes = []
    running = threading.Barrier(9)

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.putrequest("POST", "/v1/poses")
        connection.putheader("Content-Length", str(len(photos[number])))
        connection.endheaders(photos[number])
        running.wait()
        codes.append(connection.getresponse().status)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    running.wait()
    began = time.perf_counter()
    server.child.send_signal(signal.SIGTERM)
    code = server.child.wait(60)
    seconds = time.perf_counter() - began
    for thread in threads:
        thread.join()
    server.end()
    answered = codes.count(200)
    yield ["requests answered that ran at SIGTERM", "8", answered, answered == 8]
    yield ["seconds until the exit", "<= 30", round(seconds, 2), seconds <= 30 and code == -15]


PARTS = {
    part.__name__: part for part in (size, start, same, throughput, overload, lazy, fuzz, sigterm)
}


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Of the load tests.")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)))
@click.option("--photos", "count", default=20, show_default=True)
@click.option("--save", is_flag=True)
def acceptance(seconds, only, count, save):
    paths = [item.path for item in find_images([str(DATA / "data/coco-val/images")])][:count]
    photos = [path.read_bytes() for path in paths]
    rows = []
    for name in only or PARTS:
        folder = Path(tempfile.mkdtemp())
        for row in PARTS[name](folder, photos, paths, seconds):
            rows.append(row)
            print(json.dumps(row), flush=True)
        shutil.rmtree(folder)
    more = "".join(f" --only {name}" for name in only)
    show(
        "serve",
        save=save,
        title="The service against the library, at load and under attack",
        command=f"{COMMAND} --seconds {seconds:g}{more} --save",
        data=f"coco-val, {len(photos)} photos",
        columns=["figure", "wanted", "measured", "holds"],
        rows=rows,
        notes="Loopback only. The callers run on the same cores as the server, and other work ran"
        " on this machine at the same time; rates are compared within one run, in turns.",
    )


if __name__ == "__main__":
    acceptance()
