"""``rmpe serve`` and ``rmpe ui``: the page and the HTTP service."""

import os
import re
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rmpe.cli.commands import Number, SectionCommand, SectionOption
from rmpe.cli.pipeline_flags import pipeline_flags
from rmpe.errors import MissingPackageError
from rmpe.extras import missing_line, missing_modules
from rmpe.options import PipelineOptions
from rmpe.runtime import choose_providers
from rmpe.serve.options import ServeOptions, read_tokens

T = TypeVar("T")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
LIMITS = "Limits"
# Photos in one call of the models on a GPU.
GPU_BATCH = 8


def _amount(unit: str) -> Callable[[click.Context, click.Parameter, str], int]:
    """A number with a unit, such as ``20MB`` or ``50MP``."""

    def convert(_context: click.Context, _option: click.Parameter, value: str) -> int:
        found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*([kmg]?){unit}?", value.lower())
        if not found:
            raise click.BadParameter(f"{value!r} is not an amount such as 20M{unit.upper()}")
        return round(float(found[1]) * UNITS[found[2]])

    return convert


def _flags(command: Callable[..., T]) -> Callable[..., T]:
    """The flags of a server, on both commands."""
    doors: dict[str, dict[str, Any]] = {
        "--host": {"default": "127.0.0.1", "show_default": True, "help": "Address to listen on."},
        "--port": {"type": click.IntRange(0, 65535), "default": 8000, "show_default": True},
        "--token-file": {"type": FILE, "help": "Callers must send a token of this file."},
        "--no-auth": {"is_flag": True, "help": "Anybody on the network may use it."},
        "--allow-host": {
            "multiple": True,
            "help": "Name under which this machine is called; repeat for several.",
        },
        "--certfile": {"type": FILE, "help": "Certificate for https."},
        "--keyfile": {"type": FILE, "help": "Its key."},
        "--jobs": {
            "type": click.Path(file_okay=False, path_type=Path),
            "help": "Folder for videos and their results [default: ~/.rmpe/serve/PORT].",
        },
    }
    limits: dict[str, dict[str, Any]] = {
        "--workers": {
            "type": click.IntRange(1),
            "help": "Photos computed side by side [default: one a core; 2 on a GPU].",
        },
        "--queue": {
            "type": click.IntRange(0),
            "default": 0,
            "help": "Photos that may wait [default: 8 a worker].",
        },
        "--per-client": {
            "type": click.IntRange(0),
            "default": 0,
            "help": "Photos of one caller at once [default: 4 on a network].",
        },
        "--timeout": {
            "type": Number(0, min_open=True),
            "default": 30.0,
            "show_default": True,
            "help": "Seconds until a photo's work must begin.",
        },
        "--max-upload": {"callback": _amount("b"), "default": "20MB", "show_default": True},
        "--max-pixels": {"callback": _amount("p"), "default": "50MP", "show_default": True},
        "--max-video": {"callback": _amount("b"), "default": "500MB", "show_default": True},
        "--jobs-size": {"callback": _amount("b"), "default": "4GB", "show_default": True},
        "--keep": {
            "type": Number(0, min_open=True),
            "default": 3600.0,
            "show_default": True,
            "help": "Seconds until a finished video is deleted.",
        },
        "--batch-images": {
            "type": click.IntRange(1),
            "help": f"Photos in one call of the models [default: 1; {GPU_BATCH} on a GPU].",
        },
        "--batch-wait": {
            "type": Number(0),
            "default": 5.0,
            "show_default": True,
            "help": "Milliseconds that a photo waits for others.",
        },
    }
    for name, settings in reversed(doors.items()):
        command = click.option(name, **settings)(command)
    for name, settings in reversed(limits.items()):
        command = click.option(name, cls=SectionOption, section=LIMITS, **settings)(command)
    return command


@click.command(cls=SectionCommand)
@_flags
@pipeline_flags(boxes=False)
def serve(pipeline: PipelineOptions, **flags: Any) -> None:
    """Show a page and answer over HTTP: photos, videos and the camera.

    Listens on this machine only unless told otherwise; another --host needs --token-file or
    --no-auth. Ctrl-C or SIGTERM finishes what runs.
    """
    _serve(pipeline, flags)


@click.command(cls=SectionCommand)
@_flags
@pipeline_flags(boxes=False)
def ui(pipeline: PipelineOptions, **flags: Any) -> None:
    """Open the page of `rmpe serve` in the browser."""
    _serve(pipeline, flags, then=webbrowser.open)


def _serve(
    pipeline: PipelineOptions, flags: dict[str, Any], then: Callable[[str], Any] | None = None
) -> None:
    if missing := missing_modules("serve"):
        raise MissingPackageError(missing_line(missing[0], "serve"))
    from rmpe.serve.app import build
    from rmpe.serve.server import listen, run

    options = _options(pipeline, flags)
    with listen(options) as bound:
        estimator = pipeline.load(options.workers)
        app = build(options, pipeline, estimator)
        scheme = "https" if options.certfile else "http"
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{scheme}://{host}:{bound.getsockname()[1]}"
        click.echo(f"rmpe serve: {address}", err=True)
        if then is not None:
            threading.Timer(1.0, then, [address]).start()
        run(app, options, bound)


def _options(pipeline: PipelineOptions, flags: dict[str, Any]) -> ServeOptions:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    on_gpu = choose_providers(pipeline.device, available)[0] != "CPUExecutionProvider"
    home = Path(os.environ.get("RMPE_HOME") or Path.home() / ".rmpe")
    return ServeOptions(
        host=flags["host"],
        port=flags["port"],
        tokens=read_tokens(flags["token_file"]) if flags["token_file"] else (),
        auth=not flags["no_auth"],
        hosts=flags["allow_host"],
        jobs=flags["jobs"] or home / "serve" / str(flags["port"]),
        workers=flags["workers"] or (2 if on_gpu else pipeline.cores),
        queue=flags["queue"],
        per_client=flags["per_client"],
        timeout=flags["timeout"],
        max_upload=flags["max_upload"],
        max_pixels=flags["max_pixels"],
        max_video=flags["max_video"],
        jobs_bytes=flags["jobs_size"],
        keep=flags["keep"],
        batch_images=flags["batch_images"] or (GPU_BATCH if on_gpu else 1),
        batch_wait=flags["batch_wait"] / 1000,
        certfile=flags["certfile"],
        keyfile=flags["keyfile"],
    )
