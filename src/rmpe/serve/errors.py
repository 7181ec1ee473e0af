"""Refusals: how a request is answered that gets no result."""

from collections.abc import Callable, Mapping

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class HttpError(Exception):
    """An answer other than success, with one line for the caller.

    Attributes:
        status: HTTP status.
        reason: A word for the metrics; empty = not counted as rejected.
        headers: More headers of the answer.
    """

    def __init__(
        self, status: int, text: str, reason: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


def answer(error: HttpError) -> JSONResponse:
    """The answer to a refused request: its one line as JSON."""
    return JSONResponse({"error": str(error)}, error.status, error.headers)


class Refusals:
    """ASGI middleware that answers what those inside it refuse."""

    def __init__(self, app: ASGIApp, count: Callable[[str], None]) -> None:
        """Wrap an app; ``count`` is told the reason of every refusal."""
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._app(scope, receive, send)
        except HttpError as error:
            self._count(error.reason)
            await answer(error)(scope, receive, send)
