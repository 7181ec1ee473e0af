"""What the routes share: the models, who may have them next, the videos, the figures."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request

from rmpe.errors import ImageError
from rmpe.options import PipelineOptions
from rmpe.pipeline import Estimator
from rmpe.serve import answers
from rmpe.serve.admission import Admission, Refused
from rmpe.serve.body import ClientGone
from rmpe.serve.engine import Engine, Found
from rmpe.serve.errors import HttpError
from rmpe.serve.metrics import Metrics
from rmpe.serve.options import ServeOptions
from rmpe.serve.video_jobs import VideoJobs


class Service:
    """What the routes share."""

    def __init__(
        self, options: ServeOptions, pipeline: PipelineOptions, estimator: Estimator
    ) -> None:
        self.options = options
        self.pipeline = pipeline
        self.estimator = estimator
        self.metrics = Metrics()
        self.models = answers.models_of(estimator)
        self.engine = Engine(estimator, options.max_pixels)
        self.videos = VideoJobs(options, pipeline, estimator.skeleton)
        self.admission: Admission[bytes, Found]

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """From the first request to the last: the workers, and at the end the videos' thread."""
        options = self.options
        self.admission = Admission(
            self.engine,
            workers=options.workers,
            places=options.places,
            per_client=options.most_of_a_client,
            timeout=options.timeout,
            batch=options.batch_images,
            batch_wait=options.batch_wait,
            on_begin=self.metrics.begun,
        )
        self.metrics.depth.set_function(lambda: self.admission.depth)
        yield
        self.admission.close()
        await asyncio.to_thread(self.videos.close)

    def count_refusal(self, reason: str) -> None:
        """Count a request that was refused, by its reason; one without is no matter of load."""
        if reason:
            self.metrics.rejected.labels(reason).inc()

    def check(self, client: str) -> None:
        """Refuse what would be refused anyway, before its body is read."""
        try:
            self.admission.check(client)
        except Refused as error:
            raise _refusal(error) from error

    async def find(self, photo: bytes, request: Request) -> Found:
        """The people of a photo, when a worker is free; nothing for a caller who has left."""
        arrived = request.scope["rmpe.arrived"]
        try:
            found = self.admission.submit(photo, request.scope["rmpe.client"], arrived)
        except Refused as error:
            raise _refusal(error) from error
        gone = asyncio.ensure_future(_gone(request))
        either: list[asyncio.Future[Any]] = [found, gone]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not found.done():
                raise ClientGone
            return found.result()
        except Refused as error:
            raise _refusal(error) from error
        except ImageError as error:
            raise HttpError(422, _clean(error)) from error
        finally:
            gone.cancel()
            found.cancel()


async def _gone(request: Request) -> None:
    """Return when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refusal(error: Refused) -> HttpError:
    status = 429 if error.reason == "client" else 503
    return HttpError(status, str(error), error.reason, {"Retry-After": str(error.retry_after)})


def _clean(error: Exception) -> str:
    """One line for the caller, without what the operator would do."""
    text = re.sub(r"^image in memory \(\d+ bytes\): ", "", str(error).splitlines()[0])
    return f"photo: {text[:300]}"
