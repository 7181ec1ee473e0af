"""`rmpe serve` against the library, at load, and under attack: on the loopback, in one run.

    python -m benchmarks.serve.acceptance [--seconds 60] [--core N] [--only NAME]... [--save]

The server is a process of its own with the models that ship; callers are threads of this one, on
the same cores, so what they cost is taken from the server. Parts that are saved with ``--only``
replace their own rows of the record.
"""

import http.client
import itertools
import json
import os
import re
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

import click
import cv2
import numpy as np
import psutil

import rmpe
from benchmarks.options import DATA
from benchmarks.record import RESULTS, clean_commit, read, record, show
from rmpe.media.sources import find_images
from rmpe.media.video_writer import VideoWriter
from rmpe.serve.answers import encode
from rmpe.serve.engine import Found
from tests.tiny_models import spot_pose_model, yolox_model

CLIENTS = 8
OVERLOAD = 10  # times what the server can do
WAITING = 200  # callers at most at the overload
START = 120.0  # seconds until a server that does not start is a fault
LAZY = 100
STARTS = 5
FUZZED = 10_000
FRAMES = 16
ONE = (30, 36, 24, 48, 0.9, 0.9)  # a person that the made detector finds
HEADERS = (
    *("Accept", "Authorization", "Cookie", "Origin", "Sec-Fetch-Site", "X-Forwarded-For"),
    *("Content-Disposition", "Expect", "Range", "If-None-Match", "Content-Encoding"),
)
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
        self.child = subprocess.Popen([*command, *map(str, arguments)], stderr=self.log)
        self.port = self._port(folder / "log")
        assert self.call("GET", "/")[0] == 200
        self.start_seconds = time.perf_counter() - began
        self.process = psutil.Process(self.child.pid)
        self.start_cpu = sum(self.process.cpu_times()[:2])
        # The second number: nanoseconds that its main thread waited for a core (Linux).
        delays = Path(f"/proc/{self.child.pid}/schedstat").read_text().split()
        self.start_alone = self.start_seconds - int(delays[1]) / 1e9

    def _port(self, log):
        end = time.monotonic() + START
        while not (found := re.search(r"^rmpe serve: http://[^ ]*:(\d+)$", log.read_text(), re.M)):
            assert self.child.poll() is None and time.monotonic() < end, log.read_text()
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


def ask_all(server, photos, clients):
    """Every photo once, asked for by so many callers side by side; the seconds it took."""
    left = iter(photos)
    lock = threading.Lock()
    codes = []

    def client(_):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        while True:
            with lock:
                photo = next(left, None)
            if photo is None:
                break
            codes.append(server.call("POST", "/v1/poses", photo, connection=connection)[0])
        connection.close()

    began = time.perf_counter()
    together(clients, client)
    assert codes == [200] * len(photos), Counter(codes)
    return time.perf_counter() - began


def cores():
    return len(os.sched_getaffinity(0))


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
                re.match(r"[\w.-]+", need)[0].lower() for need in needs if "extra ==" not in need
            }
        return found

    named = [need for need in requires("rmpe") if 'extra == "serve"' in need.replace("'", '"')]
    if not named:
        named = ["fastapi", "uvicorn", "python-multipart", "prometheus-client"]
    core = closure({"rmpe"})
    added = closure({re.match(r"[\w.-]+", need)[0].lower() for need in named}) - core
    files = {
        Path(file.locate())
        for name in added
        for file in distribution(name).files or ()
        if file.suffix != ".pyc"
    }
    megabytes = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    yield ["the extra adds, MB", "<= 15", round(megabytes, 1), megabytes <= 15]


def start(folder, _photos, _paths, _seconds):
    """The quickest of some starts: other work only makes them slower."""
    seconds = []
    alone = []
    cpu = []
    for _ in range(STARTS):
        server = Server(folder)
        seconds.append(server.start_seconds)
        alone.append(server.start_alone)
        cpu.append(server.start_cpu)
        server.end()
    best = min(seconds)
    text = f"seconds until the page is there, best of {STARTS}"
    yield [text, "-", round(best, 2), None]
    best = min(alone)
    text = "the same without the time that other work had the cores"
    yield [text, "<= 2", round(best, 2), best <= 2]
    yield ["CPU seconds until the page is there", "-", round(min(cpu), 2), None]


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
    """In turns over the same photos, so that a disturbance hits both."""
    count = cores()
    limits = ("--threads", count, "--workers", count)
    server = Server(folder, "--queue", "64", *limits)
    estimator = rmpe.load(workers=count, threads=count)
    ask_all(server, photos[:4], 2)
    list(rmpe.stream(estimator, paths[:4]))
    rates = []
    cpu = [0.0, 0.0]
    began = time.perf_counter()
    while len(rates) < 2 or time.perf_counter() - began < seconds:
        before = server.cpu
        ours = ask_all(server, photos, CLIENTS)
        cpu[0] += server.cpu - before
        own = time.process_time()
        before = time.perf_counter()
        assert sum(not result.error for result in rmpe.stream(estimator, paths)) == len(paths)
        theirs = time.perf_counter() - before
        cpu[1] += time.process_time() - own
        rates.append((len(photos) / ours, len(photos) / theirs))
    server.end()
    each = [spent / (len(rates) * len(photos)) for spent in cpu]
    whole = [1 / np.mean([1 / rate[side] for rate in rates]) for side in (0, 1)]
    yield [f"photos a second, {CLIENTS} callers", "-", round(whole[0], 2), None]
    yield ["photos a second, rmpe.stream", "-", round(whole[1], 2), None]
    ratio = whole[0] / whole[1]
    yield [f"rate against rmpe.stream, {len(rates)} turns", ">= 0.9", round(ratio, 3), ratio >= 0.9]
    yield ["CPU seconds a photo, server", "-", round(each[0], 4), None]
    yield ["CPU seconds a photo, rmpe.stream", "-", round(each[1], 4), None]
    ratio = each[0] / each[1]
    yield ["CPU against rmpe.stream", "<= 1.1", round(ratio, 3), ratio <= 1.1]


def overload(folder, photos, _paths, seconds):
    """Callers come at ten times the rate that the server can answer, whether it answers or not."""
    count = cores()
    server = Server(folder, "--threads", count, "--workers", count)
    taken = ask_all(server, photos[:6], count) / 6
    idle = server.rss
    peak = [idle]
    stop = threading.Event()

    def watch():
        while not stop.wait(0.2):
            peak[0] = max(peak[0], server.rss)

    seen = []

    def caller(number):
        began = time.perf_counter()
        status = server.call("POST", "/v1/poses", photos[number % len(photos)])[0]
        seen.append((status, time.perf_counter() - began))

    watcher = threading.Thread(target=watch)
    watcher.start()
    callers = []
    begin = time.perf_counter()
    while (now := time.perf_counter() - begin) < seconds:
        due = int(now * OVERLOAD / taken)
        waiting = sum(one.is_alive() for one in callers[-WAITING:])
        for number in range(len(callers), min(due, len(callers) + WAITING - waiting)):
            callers.append(threading.Thread(target=caller, args=(number,)))
            callers[-1].start()
        time.sleep(0.005)
    for one in callers:
        one.join()
    began = time.perf_counter()
    status, _body = server.call("POST", "/v1/poses", photos[0])
    normal = time.perf_counter() - began
    stop.set()
    watcher.join()
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()[1:]]
    server.end()
    codes = Counter(status for status, _ in seen)
    refused = [1000 * spent for status, spent in seen if status == 503]
    inside = [line["ms"] for line in lines if line["status"] == 503]
    answered = [spent for status, spent in seen if status == 200]
    p99 = float(np.percentile(refused, 99)) if refused else 0.0
    p99_inside = float(np.percentile(inside, 99)) if inside else 0.0
    p95 = float(np.percentile(answered, 95))
    text = ", ".join(f"{number} x {status}" for status, number in sorted(codes.items()))
    rate = len(seen) * taken / seconds
    yield ["load, times what the server answers", "10", round(rate, 1), rate >= 0.95 * OVERLOAD]
    yield ["answers", "200, 429, 503", text, set(codes) <= {200, 429, 503}]
    yield ["p99 of the 503s, ms, at the caller", "<= 100", round(p99, 1), p99 <= 100]
    yield ["p99 of the 503s, ms, in the server", "-", round(p99_inside, 1), None]
    yield ["p95 of the 200s, s", "<= 30", round(p95, 2), p95 <= 30]
    ratio = peak[0] / idle
    yield ["most memory, times idle", "<= 1.5", round(ratio, 2), ratio <= 1.5]
    holds = status == 200 and normal <= 2
    yield ["seconds of a photo right after", "<= 2", round(normal, 2), holds]


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
    """Damaged photos and forms, wrong headers; models that answer at once, so that many fit in."""
    models = ("--detector", yolox_model(folder, [ONE]), "--pose", spot_pose_model(folder))
    server = Server(folder, "--queue", "64", *models)
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
            headers = {"Content-Type": kind}
            for _ in range(own.integers(3)):
                name = HEADERS[own.integers(len(HEADERS))]
                headers[name] = bytes(own.integers(32, 256, own.integers(40), np.uint8))
            try:
                status = server.call("POST", f"/v1/poses{query}", bytes(body), headers)[0]
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
            codes[status] += 1

    together(4, client)
    text = ", ".join(f"{number} x {code}" for code, number in sorted(codes.items(), key=str))
    allowed = {200, 400, 401, 403, 408, 413, 415, 422, 429, 503}
    status, _body = server.call("GET", "/healthz")
    traces = (folder / "log").read_text().count("Traceback")
    left = [path for path in (folder / "jobs").iterdir() if path.name != "lock"]
    server.end()
    total = sum(codes.values())
    yield [
        f"answers to {total} damaged bodies and headers",
        "no fault",
        text,
        codes.keys() <= allowed,
    ]
    holds = not traces and not left and status == 200
    text = f"{traces}, {len(left)}"
    yield ["tracebacks in the log, files left, alive after it", "0, 0", text, holds]


def bombs(folder, _photos, _paths, _seconds):
    """Small files that are large once they are decoded."""
    server = Server(folder)
    peak = server.rss
    refused = 0
    sent = _bombs(np.random.default_rng(0))
    for bomb in sent:
        refused += server.call("POST", "/v1/poses", bomb)[0] == 422
        peak = max(peak, server.rss)
    server.end()
    kinds = "PNG, GIF, WebP, JPEG, BMP, TIFF"
    yield [f"bombs refused ({kinds})", str(len(sent)), refused, refused == len(sent)]
    yield ["memory at the bombs, MB", "<= 500", round(peak), peak <= 500]


def paths(folder, _photos, _paths, _seconds):
    """Forty spellings of a file that is none of ours, byte by byte as they are spelt."""
    server = Server(folder)
    up = ["..", "%2e%2e", ".%2e", "%2e.", "..%00", "%252e%252e", "..%c0%af", "..;", "...", "..\\"]
    between = ["/", "%2f", "%5c", "\\"]
    spellings = [
        f"/static/{step}{slash}{step}{slash}etc{slash}passwd" for step in up for slash in between
    ]
    right = 0
    for spelling in spellings:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as one:
            one.sendall(
                f"GET {spelling} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: one.recv(65536), b""))
        right += answer.startswith(b"HTTP/1.1 404") and b"root:" not in answer
    foreign = {
        "Origin": {"Origin": "http://evil.example"},
        "Host": {"Host": "evil.example"},
        "fetch": {"Sec-Fetch-Site": "cross-site"},
    }
    codes = [server.call("GET", "/v1/models", headers=given)[0] for given in foreign.values()]
    server.end()
    yield ["spellings of ../../etc/passwd answered 404", str(len(spellings)), right, right == 40]
    text = ", ".join(f"{name} {code}" for name, code in zip(foreign, codes, strict=True))
    yield ["foreign pages and names", "403", text, codes == [403] * 3]


def killed(folder, photos, _paths, _seconds):
    """kill -9 while a video is worked on; another server on the same folder goes on with it."""
    image = cv2.imdecode(np.frombuffer(photos[0], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    with VideoWriter(folder / "clip.mp4", fps=8) as writer:
        for number in range(FRAMES):
            writer.write(np.roll(image, 4 * number, axis=1), number / 8)
    clip = (folder / "clip.mp4").read_bytes()
    server = Server(folder)
    whole = _upload(server, clip)
    _until(server, whole, lambda state: state["state"] == "done")
    name = _upload(server, clip)
    at = _until(server, name, lambda state: state["frames"] >= FRAMES // 4)["frames"]
    server.child.kill()
    server.child.wait()
    server = Server(folder)
    _until(server, name, lambda state: state["state"] == "done")
    forms = ("csv", "json", "coco", "posetrack", "mot")
    equal = sum(
        server.call("GET", f"/v1/videos/{whole}/result?format={form}")[1]
        == server.call("GET", f"/v1/videos/{name}/result?format={form}")[1]
        for form in forms
    )
    server.end()
    yield [f"frames of {FRAMES} done at the kill -9", "some, not all", at, 0 < at < FRAMES]
    text = "results equal to an undisturbed run's, byte by byte"
    yield [text, str(len(forms)), equal, equal == len(forms)]


def _upload(server, clip):
    return json.loads(server.call("POST", "/v1/videos", clip)[1])["id"]


def _until(server, name, enough):
    while True:
        state = json.loads(server.call("GET", f"/v1/videos/{name}")[1])
        assert state["state"] != "failed", state
        if enough(state):
            return state
        time.sleep(0.05)


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
    while _begun(server) < 9:
        assert len(codes) < 8, "all were answered before the signal"
        time.sleep(0.02)
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


def _begun(server):
    """How many photos a worker has begun."""
    found = re.search(
        rb"^rmpe_queue_wait_seconds_count ([\d.]+)", server.call("GET", "/metrics")[1], re.M
    )
    return float(found[1])


PARTS = {
    part.__name__: part
    for part in (
        *(size, start, same, throughput, overload, lazy, paths),
        *(fuzz, bombs, killed, sigterm),
    )
}
NOTES = (
    "Loopback only. The callers run on the same cores as the server. Other work ran on both cores"
    " of this machine at the same time, so seconds are longer than on a quiet one; the server and"
    " the library take turns within one run."
)
COLUMNS = ["part", "figure", "wanted", "measured", "holds", "commit"]


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Of the load tests.")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)))
@click.option("--photos", "count", default=20, show_default=True)
@click.option("--core", type=int, help="Run everything on this core alone.")
@click.option("--save", is_flag=True)
def acceptance(seconds, only, count, core, save):
    commit = clean_commit() if save else ""
    if core is not None:
        os.sched_setaffinity(0, {core})
    files = [item.path for item in find_images([str(DATA / "data/coco-val/images")])][:count]
    photos = [path.read_bytes() for path in files]
    rows = read("serve").rows if (RESULTS / "serve.json").exists() else []
    order = list(PARTS)
    pinned = "" if core is None else f" --core {core}"
    about = {
        "title": "The service against the library, at load and under attack",
        "command": f"{COMMAND} --seconds {seconds:g}{pinned} --save",
        "data": f"coco-val, {len(photos)} photos",
        "columns": COLUMNS,
        "notes": NOTES,
    }
    for name in only or PARTS:
        folder = Path(tempfile.mkdtemp())
        found = []
        for figure, wanted, measured, holds in PARTS[name](folder, photos, files, seconds):
            verdict = None if holds is None else bool(holds)
            found.append([name, figure, wanted, str(measured), verdict, commit])
            print(json.dumps(found[-1]), flush=True)
        shutil.rmtree(folder)
        rows = [row for row in rows if row[0] != name] + found
        rows.sort(key=lambda row: order.index(row[0]))
        if save:  # as it goes: one part that fails does not cost the others
            record("serve", rows=rows, **about)
    show("serve", save=False, rows=rows, **about)


if __name__ == "__main__":
    acceptance()
