"""The service: routes, and nothing that a route does not need. `build` makes an ASGI app."""

import asyncio
from typing import Annotated, Any, Literal, TypeAlias, cast

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from rmpe import __version__
from rmpe.errors import OutputError, RmpeError
from rmpe.fields import cut
from rmpe.media.headers import SIGNATURE_LENGTH
from rmpe.options import PipelineOptions
from rmpe.pipeline import Estimator
from rmpe.serve import answers
from rmpe.serve.body import BodyLimit, ClientGone, Limit, read_upload
from rmpe.serve.engine import is_photo
from rmpe.serve.errors import HttpError, Refusals, answer
from rmpe.serve.guard import Guard, SafeHeaders
from rmpe.serve.job import RESULTS, Job, Wish
from rmpe.serve.options import ServeOptions
from rmpe.serve.page import add_page
from rmpe.serve.request_log import RequestLog
from rmpe.serve.service import Service

# Bodies of photos in memory at once, in times the largest one.
HELD = 16
# What any other route reads of a body.
SMALL = 65536
# A video may come as slowly as this, in bytes a second.
SLOWEST_VIDEO = 20_000.0
GONE = 499  # nobody reads it; the log shows it

JsonName = Literal["json", "coco", "csv", "openpose"]
ResultName = Literal["json", "coco", "csv", "posetrack", "mot", "trc", "mp4"]
JobId = Annotated[str, Path(alias="id", description="As `POST` answered.")]
BINARY = {"schema": {"type": "string", "format": "binary"}}


Responses: TypeAlias = dict[int | str, dict[str, Any]]


class Failure(BaseModel):
    """Why there is no result."""

    error: str


class VideoStatus(BaseModel):
    """How far a video is."""

    id: str
    state: Literal["queued", "running", "done", "failed"]
    frames: int
    total: int
    percent: float | None
    frames_per_second: float
    ahead: int
    people: int
    error: str


def build(options: ServeOptions, pipeline: PipelineOptions, estimator: Estimator) -> ASGIApp:
    """The app: ``GET /`` is the page, ``/v1`` the service.

    Args:
        options: Limits and doors.
        pipeline: The models, as the processes of videos load them.
        estimator: The same, loaded.

    Raises:
        RmpeError: If the folder of the videos cannot be used.
    """
    service = Service(options, pipeline, estimator)
    web = FastAPI(
        title="rmpe",
        version=__version__,
        description="Everybody's pose, from photos and videos.",
        docs_url=None,
        redoc_url=None,
        lifespan=service.lifespan,
    )
    web.state.service = service
    _add_errors(web, service)
    add_page(web)
    _add_health(web, service)
    _add_photos(web, service)
    _add_videos(web, service)
    guarded: ASGIApp = Guard(web, options.tokens, [options.host, *options.hosts])
    guarded = SafeHeaders(Refusals(guarded, service.count_refusal))
    limits = {
        "/v1/poses": Limit(options.max_upload + SMALL, options.timeout, in_memory=True),
        "/v1/videos": Limit(options.max_video + SMALL, options.timeout, SLOWEST_VIDEO),
    }
    other = Limit(SMALL, options.timeout)
    limited = BodyLimit(guarded, limits, other, HELD * (options.max_upload + SMALL))
    return RequestLog(limited, service.metrics)


def _add_errors(web: FastAPI, service: Service) -> None:
    @web.exception_handler(HttpError)
    async def refused(_: Request, error: Exception) -> Response:
        known = cast(HttpError, error)
        service.count_refusal(known.reason)
        return answer(known)

    @web.exception_handler(ClientGone)
    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=GONE)

    @web.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> Response:
        first = cast(RequestValidationError, error).errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return answer(HttpError(422, f"{place}: {first['msg']}"))

    @web.exception_handler(HTTPException)
    async def http(_: Request, error: Exception) -> Response:
        known = cast(HTTPException, error)
        return answer(HttpError(known.status_code, known.detail.lower(), headers=known.headers))

    @web.exception_handler(RmpeError)
    async def broken(_: Request, error: Exception) -> Response:
        # A model that refuses its input: the operator's matter, so no detail goes out.
        raise RuntimeError(str(error)) from error

    @web.exception_handler(Exception)
    async def fault(_: Request, __: Exception) -> Response:
        return answer(HttpError(500, "internal error; the server's log says more"))


def _add_health(web: FastAPI, service: Service) -> None:
    @web.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @web.get("/readyz", tags=["health"], responses={503: {"model": Failure}})
    async def readyz() -> dict[str, str]:
        """A photo that came now would be worked on."""
        if service.admission.full:
            raise HttpError(503, "all waiting places are taken")
        if not service.videos.has_room:
            raise HttpError(503, "the disk is full")
        return {"status": "ok"}

    @web.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Figures in Prometheus' text format."""
        states = service.videos.states()
        for state in ("queued", "running", "done", "failed"):
            service.metrics.videos.labels(state).set(states[state])
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @web.get("/v1/models", tags=["models"])
    async def models() -> dict[str, Any]:
        """The models that answer, what their joints are, and what may be sent."""
        options = service.options
        return {
            "version": __version__,
            "models": service.models,
            "skeleton": answers.skeleton_json(service.estimator.skeleton),
            "limits": {
                "photo_bytes": options.max_upload,
                "pixels": options.max_pixels,
                "video_bytes": options.max_video,
                "min_score": service.estimator.min_score,
            },
        }


REFUSALS: Responses = {
    401: {"model": Failure, "description": "No valid token."},
    403: {"model": Failure, "description": "Another host name, or a page of another server."},
    408: {"model": Failure, "description": "The body did not come in time."},
    413: {"model": Failure, "description": "The body is too large."},
    415: {"model": Failure, "description": "Not a kind of file that is read here."},
    422: {"model": Failure, "description": "Damaged, too many pixels, or a wrong parameter."},
    429: {"model": Failure, "description": "Too much at once from one caller."},
    503: {"model": Failure, "description": "No free place; see Retry-After."},
    507: {"model": Failure, "description": "No room for another video."},
}


def _upload(kinds: list[str]) -> dict[str, Any]:
    form = {"type": "object", "properties": {"file": BINARY["schema"]}, "required": ["file"]}
    content = {kind: BINARY for kind in kinds} | {"multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def _add_photos(web: FastAPI, service: Service) -> None:
    kinds = ["image/jpeg", "image/png", "image/webp", "application/octet-stream"]
    known: Responses = {200: {"content": {kind: {} for kind in ("application/json", "text/csv")}}}
    codes = (401, 403, 408, 413, 415, 422, 429, 503)

    @web.post(
        "/v1/poses",
        dependencies=[Depends(_no_other_parameters)],
        tags=["photos"],
        response_class=Response,
        responses={**known, **{code: REFUSALS[code] for code in codes}},
        openapi_extra=_upload(kinds),
    )
    async def poses(
        request: Request,
        form: Annotated[JsonName, Query(alias="format")] = "json",
        min_score: Annotated[float, Query(ge=0, le=1)] = 0.0,
        image_id: Annotated[int, Query(ge=0, le=2**53)] = 1,
    ) -> Response:
        """Everybody in a photo; the body is the photo itself, or a form with a part `file`.

        `coco`, `csv` and `openpose` are the bytes that `rmpe predict` writes.
        """
        service.check(request.scope["rmpe.client"])
        photo = bytearray()
        await read_upload(request.scope, request.receive, photo.extend)
        if not photo:
            raise HttpError(422, "photo: the body is empty")
        if len(photo) > service.options.max_upload:
            raise HttpError(413, f"at most {service.options.max_upload} bytes", "size")
        if not is_photo(bytes(photo[:SIGNATURE_LENGTH])):
            raise HttpError(415, "photo: not an image of a known kind")
        found = await service.find(bytes(photo), request)
        request.scope["rmpe.people"] = len(found.poses)
        service.metrics.found(len(found.poses), found.seconds)
        body, kind = answers.encode(found, form, image_id, min_score, {"models": service.models})
        return Response(body, media_type=kind)


def _add_videos(web: FastAPI, service: Service) -> None:
    kinds = ["video/mp4", "application/octet-stream"]
    codes = (401, 403, 408, 413, 415, 422, 503, 507)

    def known(name: str) -> Job:
        job = service.videos.get(name)
        if job is None:
            raise HttpError(404, "no such video; results are deleted after a while")
        return job

    def status(job: Job) -> VideoStatus:
        percent = 100.0 * min(1.0, job.frames / job.total) if job.total else None
        return VideoStatus(
            id=job.id,
            state=job.state,
            frames=job.frames,
            total=job.total,
            percent=100.0 if job.state == "done" else percent and round(percent, 1),
            frames_per_second=round(job.rate, 2),
            ahead=service.videos.ahead(job),
            people=job.people,
            error=job.error,
        )

    @web.post(
        "/v1/videos",
        dependencies=[Depends(_no_other_parameters)],
        tags=["videos"],
        status_code=202,
        responses={code: REFUSALS[code] for code in codes},
        openapi_extra=_upload(kinds),
    )
    async def upload(
        request: Request,
        tracker: Annotated[Literal["poseflow", "oks", "none"], Query()] = "poseflow",
        detect_every: Annotated[int, Query(ge=0, le=1000)] = 1,
        smooth: Annotated[bool, Query()] = False,
        draw: Annotated[bool, Query()] = True,
    ) -> VideoStatus:
        """Follow everybody through a video; the body is the file itself, or a form's part `file`.

        Answers at once with an id. `detect_every=0` runs the detector when the poses say so.
        """
        declared = request.headers.get("content-length", "0")
        size = int(declared[:20]) if declared[:20].isdigit() else 0
        if size > service.options.max_video + SMALL:
            raise HttpError(413, f"at most {service.options.max_video} bytes", "size")
        try:
            job = await asyncio.to_thread(service.videos.begin_upload, size)
        except BlockingIOError as error:
            raise HttpError(503, str(error), "videos", {"Retry-After": "60"}) from error
        except OSError as error:
            raise HttpError(507, "no room for another video", "disk") from error
        queued = False
        try:
            with job.source.open("wb") as file:
                await read_upload(request.scope, request.receive, file.write)
                size = file.tell()
            if not size:
                raise HttpError(422, "video: the body is empty")
            if is_photo(_head(job)):
                raise HttpError(415, "video: this is a photo: send it to /v1/poses")
            wish = Wish(tracker, detect_every, smooth, draw)
            await asyncio.to_thread(service.videos.submit, job, wish)
            queued = True
        except OutputError as error:
            raise HttpError(507, "no room for another video", "disk") from error
        finally:
            if not queued:
                service.videos.delete(job)
        return status(job)

    missing: Responses = {
        404: {"model": Failure},
        **{code: REFUSALS[code] for code in (401, 403, 422)},
    }

    @web.get("/v1/videos/{id}", tags=["videos"], responses=missing)
    async def progress(name: JobId) -> VideoStatus:
        """How far a video is."""
        return status(known(name))

    @web.get(
        "/v1/videos/{id}/result",
        dependencies=[Depends(_no_other_parameters)],
        tags=["videos"],
        response_class=FileResponse,
        responses={**missing, 409: {"model": Failure, "description": "Not done yet."}},
    )
    async def result(
        name: JobId, form: Annotated[ResultName, Query(alias="format")] = "json"
    ) -> FileResponse:
        """The result of a video, as `rmpe track` writes it; `trc` is a zip of one file a person."""
        job = known(name)
        if job.state != "done":
            raise HttpError(409, job.error or "not done yet")
        file, kind = RESULTS[form]
        if not (job.out / file).is_file():
            raise HttpError(404, "this result was not asked for")
        return FileResponse(job.out / file, media_type=kind)

    @web.delete("/v1/videos/{id}", tags=["videos"], status_code=204, responses=missing)
    async def delete(name: JobId) -> None:
        """Stop the work on a video, and delete it with its results."""
        await asyncio.to_thread(service.videos.delete, known(name))


def _no_other_parameters(request: Request) -> None:
    """That a misspelt parameter is not passed over."""
    known = [one.alias for one in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            raise HttpError(422, f"{cut(name)}: no such parameter; known: {', '.join(known)}")


def _head(job: Job) -> bytes:
    with job.source.open("rb") as file:
        return file.read(SIGNATURE_LENGTH)
