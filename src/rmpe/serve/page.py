"""The page and its files."""

import hashlib
from importlib import resources

from fastapi import FastAPI, Request
from fastapi.responses import Response

from rmpe.serve.errors import HttpError

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def add_page(web: FastAPI) -> None:
    """The page and its files, read once: no request ever touches a path."""
    folder = resources.files("rmpe.serve") / "static"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    tags = {name: f'"{hashlib.sha256(data).hexdigest()[:20]}"' for name, data in files.items()}

    def static(name: str, request: Request) -> Response:
        if name not in files:
            raise HttpError(404, "not found")
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        kind = MEDIA_TYPES[name.rpartition(".")[2]]
        return Response(files[name], media_type=kind, headers=headers)

    @web.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return static("index.html", request)

    @web.get("/static/{name}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        return static(name, request)
