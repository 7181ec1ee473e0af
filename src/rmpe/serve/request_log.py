"""One line of JSON a request: never pixels, never names of files, never tokens."""

import asyncio
import json
import logging
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rmpe.serve.metrics import Metrics

logger = logging.getLogger("rmpe.serve")


class RequestLog:
    """ASGI middleware around all others: logs, counts, and answers what they refuse."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an app."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        scope["rmpe.arrived"] = asyncio.get_running_loop().time()
        entry = {"id": secrets.token_hex(6), "method": scope["method"]}
        status = 0
        count = 0

        async def receive_counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            return message

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = (b"x-request-id", entry["id"].encode())
                message = dict(message, headers=[*message["headers"], named])
            await send(message)

        try:
            await self._app(scope, receive_counted, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status or 499)).inc()
            line = {"route": route, "status": status or 499, "bytes": count}
            people = {"people": scope["rmpe.people"]} if "rmpe.people" in scope else {}
            taken = {"ms": round(1000 * (time.perf_counter() - began), 1)}
            logger.info(json.dumps(entry | line | people | taken))
