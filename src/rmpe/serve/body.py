"""Bodies: counted as they come, before anything parses them, and given up politely.

`BodyLimit` is the only place that lets bytes of a request in. It stops at the limit and the
deadline of the route, and keeps the photos in memory below a bound. When an answer is given while
the caller still sends, it reads and drops a little more before the connection is closed: a
connection that is closed at once is reset, and the answer is lost with it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rmpe.serve.errors import HttpError

# What is still read of a body after its answer, in bytes and seconds.
LINGER_BYTES = 4 << 20
LINGER_SECONDS = 2.0


@dataclass(frozen=True)
class Limit:
    """What the body of a route may be.

    Attributes:
        size: Most bytes.
        seconds: Seconds within which it must be there.
        rate: Bytes a second that buy more time; 0 = they do not.
        in_memory: Whether the route holds the whole body in memory.
    """

    size: int
    seconds: float
    rate: float = 0.0
    in_memory: bool = False


def header(scope: Scope, name: bytes) -> str:
    """A header of a request; empty if it is not there."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


class BodyLimit:
    """ASGI middleware that counts bodies.

    Attributes:
        held: Bytes of bodies in memory now.
    """

    def __init__(
        self, app: ASGIApp, limits: dict[str, Limit], other: Limit, most_held: int
    ) -> None:
        """Wrap an app.

        Args:
            app: The app.
            limits: Path of a route -> its limit.
            other: The limit of every other path.
            most_held: Most bytes of bodies in memory at once, over all requests.
        """
        self._app = app
        self._limits = limits
        self._other = other
        self.most_held = most_held
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, scope, receive, send, self._limits.get(scope["path"], self._other))
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            self.held -= body.held


class _Body:
    """One request's body on its way in, and its answer on its way out."""

    def __init__(
        self, owner: BodyLimit, scope: Scope, receive: Receive, send: Send, limit: Limit
    ) -> None:
        declared = header(scope, b"content-length")
        self._owner = owner
        self._receive = receive
        self._send = send
        self._limit = limit
        # A length of more digits than any disk holds is as good as any other that is too large.
        self._declared = int(declared[:20]) if declared[:20].isdigit() else 0
        self._complete = not self._declared and not header(scope, b"transfer-encoding")
        self._began = asyncio.get_running_loop().time()
        self._count = 0
        self._early = False
        self.held = 0

    async def receive(self) -> Message:
        """The next part of the body, or the end of the connection.

        Raises:
            HttpError: If the body is too large, too slow, or too much with all others.
        """
        if self._declared > self._limit.size:
            raise self._too_large()
        if self._complete:
            return await self._receive()
        extra = self._count / self._limit.rate if self._limit.rate else 0.0
        try:
            async with asyncio.timeout_at(self._began + self._limit.seconds + extra):
                message = await self._receive()
        except TimeoutError as error:
            raise HttpError(408, "the body did not come in time", "slow") from error
        if message["type"] == "http.request":
            self._take(len(message.get("body", b"")))
        self._complete = not message.get("more_body", False)
        return message

    def _take(self, count: int) -> None:
        self._count += count
        if self._count > self._limit.size:
            raise self._too_large()
        if self._limit.in_memory:
            self.held += count
            self._owner.held += count
            if self._owner.held > self._owner.most_held:
                raise HttpError(503, "too many photos at once", "memory", {"Retry-After": "1"})

    async def send(self, message: Message) -> None:
        """Pass the answer on; if it comes before the end of the body, linger a little."""
        if message["type"] == "http.response.start":
            self._early = not self._complete
            if self._early:
                kept = [pair for pair in message["headers"] if pair[0].lower() != b"connection"]
                message = dict(message, headers=[*kept, (b"connection", b"close")])
            await self._send(message)
        elif not self._early or message.get("more_body", False):
            await self._send(message)
        else:
            # The answer is whole, its length says so; the connection stays open for the rest.
            await self._send(dict(message, more_body=True))
            await self._drop()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drop(self) -> None:
        dropped = 0
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while dropped < LINGER_BYTES:
                    message = await self._receive()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return

    def _too_large(self) -> HttpError:
        return HttpError(413, f"the body is larger than {self._limit.size} bytes", "size")


class ClientGone(Exception):  # noqa: N818 - nobody is left to tell
    """The caller closed the connection before the body was complete."""


async def read_upload(scope: Scope, receive: Receive, sink: Callable[[bytes], Any]) -> None:
    """Read a body into ``sink``: all of it, or the part named ``file`` of a multipart form.

    Args:
        scope: The request.
        receive: Its body.
        sink: Takes the bytes as they come.

    Raises:
        HttpError: If the form is broken or has no such part.
        ClientGone: If the caller left.
    """
    kind, parameters = parse_options_header(header(scope, b"content-type"))
    form = None
    if kind.lower() == b"multipart/form-data":
        form = _Form(parameters.get(b"boundary", b""), sink)
        sink = form.write
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        sink(message.get("body", b""))
        if not message.get("more_body", False):
            break
    if form is not None:
        form.close()


class _Form:
    """A multipart form of which one part is kept."""

    def __init__(self, boundary: bytes, sink: Callable[[bytes], Any]) -> None:
        self._sink = sink
        self._name = b""
        self._field = b""
        self._value = b""
        self._inside = False
        self._found = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                },
            )
        except FormParserError as error:
            raise _broken() from error
        if not boundary:
            raise _broken()

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _broken() from error

    def close(self) -> None:
        try:
            self._parser.finalize()
        except FormParserError as error:
            raise _broken() from error
        if not self._found:
            raise HttpError(422, "the form has no part named 'file'")
        if self._inside:
            raise _broken()

    def _part_begin(self) -> None:
        self._name = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._name = parse_options_header(self._value)[1].get(b"name", b"")
        self._field = b""
        self._value = b""

    def _headers_finished(self) -> None:
        self._inside = self._name == b"file" and not self._found
        self._found = self._found or self._inside

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._sink(data[start:end])

    def _part_end(self) -> None:
        self._inside = False


def _broken() -> HttpError:
    return HttpError(422, "the multipart form is broken or incomplete")
