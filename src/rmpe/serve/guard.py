"""Who may call: names of this machine, our own pages, tokens; and headers on every answer."""

import hmac
import ipaddress
import socket
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rmpe.serve.body import header
from rmpe.serve.errors import HttpError

# The page and its files hold no secret, and probes carry no token.
OPEN = ("/", "/healthz", "/readyz")
OPEN_FOLDER = "/static/"
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)


class Guard:
    """ASGI middleware that lets through what may come in.

    It says who calls in ``scope["rmpe.client"]``: the number of a token, or an address.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[str], hosts: Collection[str]) -> None:
        """Wrap an app.

        Args:
            app: The app.
            tokens: One of them is needed; empty = none.
            hosts: Names, besides addresses and this machine's own names, that a request may be
                addressed to.
        """
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        own = {"localhost", socket.gethostname().lower()}
        self._hosts = own | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._check_host(scope)
        self._check_origin(scope)
        scope["rmpe.client"] = self._client(scope)
        await self._app(scope, receive, send)

    def _check_host(self, scope: Scope) -> None:
        """Against DNS rebinding: a foreign name that resolves to this machine is not ours."""
        name = urlsplit(f"//{header(scope, b'host')}").hostname or ""
        if name not in self._hosts and not _is_address(name):
            raise HttpError(
                403, "unknown host name; start the server with --allow-host NAME", "host"
            )

    def _check_origin(self, scope: Scope) -> None:
        """Against pages of somebody else in the browser of a user."""
        origin = header(scope, b"origin")
        if origin and urlsplit(origin).netloc.lower() != header(scope, b"host").lower():
            raise HttpError(403, "requests from other pages are refused", "origin")
        # A link on another page may open ours, and nothing else.
        opens_page = scope["path"] == "/" and header(scope, b"sec-fetch-mode") == "navigate"
        if header(scope, b"sec-fetch-site") in {"cross-site", "same-site"} and not opens_page:
            raise HttpError(403, "requests from other pages are refused", "origin")

    def _client(self, scope: Scope) -> str:
        address = scope["client"][0] if scope.get("client") else "unknown"
        if not self._tokens or scope["path"] in OPEN or scope["path"].startswith(OPEN_FOLDER):
            return address
        scheme, _, given = header(scope, b"authorization").partition(" ")
        # Every token is compared, each in constant time.
        matches = [
            hmac.compare_digest(given.strip().encode("latin-1"), token) for token in self._tokens
        ]
        if scheme.lower() != "bearer" or not any(matches):
            raise HttpError(401, "a valid token is needed", "token", {"WWW-Authenticate": "Bearer"})
        return f"token {matches.index(True)}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class SafeHeaders:
    """ASGI middleware that adds the headers which tell browsers what our pages may do."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = dict(message, headers=[*message["headers"], *HEADERS])
            await send(message)

        await self._app(scope, receive, send_with)
