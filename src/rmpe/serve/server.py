"""The web server: uvicorn with time limits that it has not, and a graceful end."""

import asyncio
import logging
import socket
import sys
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from rmpe.errors import UsageError
from rmpe.serve.options import ServeOptions

# Seconds until a connection must have sent the headers of its first request.
HEADERS = 10.0
# Seconds that a connection may stay open between requests.
KEEP_ALIVE = 15
# Connections at once; more get 503.
CONNECTIONS = 1000
# Seconds that running requests get to end after SIGTERM.
GRACE = 30
# Largest headers of a request, in bytes.
HEADER_BYTES = 16384


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits for headers only so long: uvicorn itself would wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEADERS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._patience.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        # uvicorn declares `cycle` without the None that it begins with.
        if not getattr(self, "cycle", None) and not self.transport.is_closing():
            self.transport.close()


def listen(options: ServeOptions) -> socket.socket:
    """A socket that is bound, so that its port is known before anything else starts.

    Raises:
        UsageError: If the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((options.host, options.port))
        bound.listen(128)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {options.host} port {options.port}: {error.strerror or error};"
            " choose another with --host and --port"
        ) from error
    return bound


def run(app: ASGIApp, options: ServeOptions, bound: socket.socket) -> None:
    """Serve until a signal; requests that run are finished."""
    logger = logging.getLogger("rmpe.serve")
    logger.setLevel(logging.INFO)
    logger.addHandler(_to_stderr("%(message)s"))
    logging.getLogger("uvicorn").addHandler(_to_stderr("rmpe serve: %(message)s"))
    settings: dict[str, Any] = {
        "http": PatientProtocol,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE,
        "timeout_graceful_shutdown": GRACE,
        "limit_concurrency": CONNECTIONS,
        "h11_max_incomplete_event_size": HEADER_BYTES,
        "ssl_certfile": str(options.certfile) if options.certfile else None,
        "ssl_keyfile": str(options.keyfile) if options.keyfile else None,
    }
    try:
        config = uvicorn.Config(app, **settings)
        config.load()
    except (OSError, ValueError) as error:
        raise UsageError(f"{options.certfile}: cannot use the certificate: {error}") from error
    uvicorn.Server(config).run(sockets=[bound])


def _to_stderr(form: str) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(form))
    return handler
