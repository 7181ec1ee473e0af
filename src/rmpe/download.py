"""Downloads: the only place of the package that dials out, and only when a command asks for it.

A download goes into ``FILE.part`` with a note of its validator beside it, so that an interrupted
one goes on where it ended. It is bounded in bytes, in time and in slowness; every fault is one
line. What the bytes are worth is for the caller to check.
"""

import http.client
import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from rmpe.errors import ModelError

SCHEMES = ("http", "https")
CHUNK = 1 << 16  # bytes
POLL = 0.05  # seconds between two looks at a running download
# An ONNX file is a protocol buffer, which cannot be larger.
MOST_BYTES = 2**31
GONE = (401, 403, 404, 410, 451)  # asking again does not help
FAULTS = (OSError, http.client.HTTPException, ValueError)

Progress = Callable[[int, int], None]
"""Called now and then with the bytes so far and the bytes in all (0 = unknown)."""


@dataclass(frozen=True)
class Limits:
    """When a download is given up.

    Attributes:
        silence: Seconds without a byte, and half of those that an answer may take to begin.
        window: Seconds over which slowness is judged.
        slowest: Bytes a second that it must reach in such a window.
        total: Seconds for everything.
        tries: Fruitless tries of one address; one that brings new bytes is not fruitless.
        most_tries: Tries of one address.
        pause: Seconds before the next try; doubled after each fruitless one.
    """

    silence: float = 30.0
    window: float = 20.0
    slowest: float = 4096.0
    total: float = 4 * 3600.0
    tries: int = 3
    most_tries: int = 20
    pause: float = 1.0


LIMITS = Limits()


@dataclass(frozen=True)
class Downloaded:
    """A finished download.

    Attributes:
        address: Where the bytes came from in the end, after redirections.
        transferred: How many bytes crossed the network in this call.
        resumed: Whether an answer went on where an earlier one had ended.
    """

    address: str
    transferred: int
    resumed: bool


def host_of(address: str) -> str:
    """The host of an address, for asking the user.

    Raises:
        ModelError: If it is not an http or https address with a host.
    """
    try:
        parts = urlsplit(address)
        port = parts.port  # raises where it is no number
        host = parts.hostname
    except ValueError as error:
        raise ModelError(f"{address!r}: not an address: {error}") from error
    if parts.scheme not in SCHEMES or not host:
        raise ModelError(f"{address!r}: not an http or https address with a host")
    if not address.isascii() or not address.isprintable() or " " in address:
        raise ModelError(f"{address!r}: an address has no spaces and only ASCII letters")
    return host if port is None else f"{host}:{port}"


def is_address(source: str) -> bool:
    """Whether a source is an http or https address, not a file."""
    return source.lower().startswith(("http://", "https://"))


def download(
    address: str,
    file: Path,
    *,
    size: int = 0,
    most: int = MOST_BYTES,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Downloaded:
    """Fetch a file.

    Args:
        address: Where it lies.
        file: Where it goes; ``FILE.part`` and ``FILE.part.json`` lie beside it until it is whole.
        size: Its size in bytes; 0 = unknown.
        most: No more bytes than these are taken, whatever the server sends.
        progress: Told how far it is.
        limits: When to give up; `LIMITS` if not given.

    Raises:
        ModelError: If the address does not give it; what has arrived is kept for the next call.
    """
    limits = limits or LIMITS
    most = size or most
    deadline = time.monotonic() + limits.total
    transferred = 0
    resumed = False
    fruitless = 0
    host_of(address)
    _check_space(file, size)
    for _ in range(limits.most_tries):
        before = _part(file).stat().st_size if _part(file).exists() else 0
        run = _Attempt(address, file, size, most, limits.silence)
        fault = run.watch(deadline, limits, progress)
        transferred += run.received
        resumed |= run.offset > 0
        if fault is None:
            _part(file).replace(file)
            _note(file).unlink(missing_ok=True)
            return Downloaded(run.final, transferred, resumed)
        fruitless = 0 if run.offset + run.received > before else fruitless + 1
        if fault.fatal or fruitless >= limits.tries or time.monotonic() >= deadline:
            break
        time.sleep(min(limits.pause * 2**fruitless, 30.0))
    raise ModelError(f"{address}: cannot download: {fault}")


class _TryError(Exception):
    """Why one try failed.

    Attributes:
        fatal: Asking this address again does not help.
        worthless: What was received is of no use.
    """

    def __init__(self, reason: str, *, fatal: bool = False, worthless: bool = False) -> None:
        super().__init__(" ".join(reason.split())[:300])
        self.fatal = fatal
        self.worthless = worthless


class _Attempt:
    """One request. A thread reads, so that the caller can give up on a server that drips."""

    def __init__(self, address: str, file: Path, size: int, most: int, silence: float) -> None:
        self.address = address
        self.final = address
        self.offset = 0  # where in the file the answer begins
        self.received = 0
        self.total = size
        self._part = _part(file)
        self._note = _note(file)
        self._size = size
        self._most = most
        self._silence = silence
        self._fault: _TryError | None = _TryError("stopped early")  # until the file is whole
        self._answered = False
        self._abandoned = False
        self._lock = threading.Lock()  # nothing is written once the attempt is abandoned
        self._thread = threading.Thread(target=self._run, daemon=True)

    def watch(self, deadline: float, limits: Limits, progress: Progress | None) -> _TryError | None:
        """Run to the end; ``None`` = the file is whole."""
        self._thread.start()
        since = time.monotonic()
        seen = -1  # nothing is expected before the answer begins
        try:
            while self._thread.is_alive():
                self._thread.join(POLL)
                now = time.monotonic()
                if progress:
                    progress(self.offset + self.received, self.total)
                if now >= deadline:
                    return _TryError(f"takes longer than {limits.total / 3600:g} hours", fatal=True)
                if seen < 0:
                    if self._answered:
                        since = now
                        seen = 0
                    elif now - since >= 2 * limits.silence:
                        return _TryError(f"no answer in {2 * limits.silence:g} s")
                elif now - since >= limits.window:
                    rate = (self.received - seen) / (now - since)
                    if rate < limits.slowest:
                        return _TryError(
                            f"{rate / 1000:.1f} kB/s is too slow; go on later: "
                            "what has arrived is kept",
                            fatal=True,
                        )
                    since = now
                    seen = self.received
        finally:
            with self._lock:
                self._abandoned = True
        return self._fault

    def _run(self) -> None:
        try:
            self._transfer()
            self._fault = None
        except _TryError as fault:
            if fault.worthless:
                self._forget()
            self._fault = fault
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # the part is not a part of this file
                self._forget()
            self._fault = _TryError(
                f"HTTP {error.code} {error.reason}",
                fatal=error.code in GONE or 300 <= error.code < 400,
            )
        except FAULTS as error:
            reason = getattr(error, "reason", None) or error
            self._fault = _TryError(f"{reason}" or type(error).__name__)

    def _transfer(self) -> None:
        headers, start = self._resume()
        request = urllib.request.Request(self.address, headers=headers)
        with _opener().open(request, timeout=self._silence) as answer:
            self._answered = True
            self.final = answer.url
            begin, whole = _extent(answer, start)
            if self._size and whole and whole != self._size:
                raise _TryError(f"holds {whole} bytes, not {self._size}", fatal=True)
            if whole > self._most:
                raise _TryError(f"holds {whole} bytes, more than {self._most}", fatal=True)
            self.total = whole or self._size
            self.offset = begin
            with self._opened(begin, answer.headers) as out:
                self._copy(answer, out)
        got = self.offset + self.received
        if (whole and got != whole) or (self._size and got != self._size):
            raise _TryError(f"ended after {got} of {whole or self._size} bytes")

    def _copy(self, answer: Any, out: IO[bytes]) -> None:
        while data := answer.read1(CHUNK):
            with self._lock:
                if self._abandoned:
                    return
                if self.offset + self.received + len(data) > self._most:
                    raise _TryError(
                        f"sends more than {self._most} bytes", fatal=True, worthless=True
                    )
                try:
                    out.write(data)
                except OSError as error:  # the disk, not the network
                    reason = f"cannot write {self._part}: {error.strerror}"
                    raise _TryError(reason, fatal=True) from error
                self.received += len(data)

    def _resume(self) -> tuple[dict[str, str], int]:
        """Headers of the request, and where the answer is to begin."""
        headers = {"User-Agent": "rmpe", "Accept-Encoding": "identity"}
        try:
            note = json.loads(self._note.read_text("utf-8"))
            start = self._part.stat().st_size
            validator = note["validator"]
            known = note["address"] == self.address and isinstance(validator, str) and validator
        except (OSError, ValueError, KeyError, TypeError):
            return headers, 0
        if not known or not 0 < start < self._most:
            return headers, 0
        return headers | {"Range": f"bytes={start}-", "If-Range": validator}, start

    def _opened(self, begin: int, headers: Mapping[str, str]) -> IO[bytes]:
        """The part, ready to be written from ``begin`` on; a new one gets its note."""
        with self._lock:
            if self._abandoned:
                raise _TryError("given up")
            if begin:
                out = self._part.open("r+b")
                out.truncate(begin)
                out.seek(begin)
                return out
            # What makes sure that a later answer continues this one.
            tag = headers.get("ETag") or ""
            strong = tag and not tag.startswith("W/")
            validator = tag if strong else headers.get("Last-Modified") or ""
            note = {"address": self.address, "validator": validator}
            self._note.unlink(missing_ok=True)  # the old note never stands beside the new part
            out = self._part.open("w+b")
            self._note.write_text(json.dumps(note), "utf-8")
            return out

    def _forget(self) -> None:
        with self._lock:
            if not self._abandoned:
                self._part.unlink(missing_ok=True)
                self._note.unlink(missing_ok=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections to http and https only, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows, as urllib makes it, if we may go there."""
        try:
            host_of(newurl.replace(" ", "%20"))
        except ModelError as error:
            raise _TryError(f"is redirected: {error}", fatal=True) from error
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise _TryError(f"is redirected from https to {newurl}: refused", fatal=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS through the proxies of the environment; no other scheme, no files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _extent(answer: Any, asked: int) -> tuple[int, int]:
    """Where in the file an answer begins, and the size of the whole file (0 = not said)."""
    if answer.status == 206:
        unit, _, span = (answer.headers.get("Content-Range") or "").partition(" ")
        part, _, size = span.partition("/")
        first = part.partition("-")[0]
        if unit != "bytes" or not first.isdecimal() or int(first) != asked:
            raise _TryError(f"answers with another part than asked for: {unit} {span}")
        return asked, int(size) if size.isdecimal() else 0
    text = answer.headers.get("Content-Length")
    if text is None:
        return 0, 0
    if not text.strip().isdecimal():
        raise _TryError(f"promises {text!r} bytes", fatal=True)
    return 0, int(text)


def _check_space(file: Path, size: int) -> None:
    """Refuse a download that the disk cannot hold beside its unpacked copy."""
    free = shutil.disk_usage(file.parent).free
    if size and free < 2 * size:
        raise ModelError(
            f"{file.parent}: {free / 1e6:.0f} MB are free, {2 * size / 1e6:.0f} MB are needed"
        )


def _part(file: Path) -> Path:
    return file.with_name(file.name + ".part")


def _note(file: Path) -> Path:
    return file.with_name(file.name + ".part.json")
