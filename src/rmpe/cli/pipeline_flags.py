"""The flags of `rmpe.PipelineOptions`, the same for every command that runs a pipeline."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from rmpe.associate import ASSOCIATORS
from rmpe.cli.commands import Number, SectionOption
from rmpe.detect import WHOLE_IMAGE
from rmpe.options import DEFAULT_MIN_SCORE, PipelineOptions
from rmpe.runtime import DEVICES
from rmpe.suppress import SUPPRESSORS

T = TypeVar("T")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FIELDS = {"max_people": "limit"}  # flag -> field, where they differ
MODELS = "Models"
RUNNING = "How they run"


def pipeline_flags(
    *, boxes: bool = True, threads: bool = True, min_score: float = DEFAULT_MIN_SCORE
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command the flags of a pipeline; it receives them as ``pipeline: PipelineOptions``.

    Args:
        boxes: Whether precomputed boxes make sense for the command.
        threads: Whether the command leaves the number of threads to the user.
        min_score: Default of ``--min-score``.
    """

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @wraps(command)
        def with_pipeline(**flags: Any) -> T:
            given = {name: flags.pop(name) for name in names}
            fields = {FIELDS.get(name, name): value for name, value in given.items()}
            return command(pipeline=PipelineOptions(**fields), **flags)

        wrapped: Callable[..., T] = with_pipeline
        names = []
        for declaration, settings in reversed(_flags(min_score)):
            if (declaration == "--boxes" and not boxes) or (
                declaration == "--threads" and not threads
            ):
                continue
            names.append(declaration.removeprefix("--").replace("-", "_"))
            wrapped = click.option(declaration, cls=SectionOption, **settings)(wrapped)
        return wrapped

    return decorate


def _flags(min_score: float) -> list[tuple[str, dict[str, Any]]]:
    models: dict[str, dict[str, Any]] = {
        "--detector": {"help": f"Person detector: ONNX file, installed model, or {WHOLE_IMAGE}."},
        "--boxes": {
            "type": FILE,
            "help": "Precomputed boxes (COCO results or annotations) instead of a detector.",
        },
        "--pose": {"help": "Pose model: ONNX file or installed model."},
        "--stn": {
            "help": "Transformer (STN) before the pose model: ONNX file, installed model, or none."
            "  [default: that of `rmpe models use`, else as the pose model's card says]"
        },
        "--card": {"type": FILE, "help": "Model card of the pose model (TOML)."},
        "--nms": {
            "default": "parametric",
            "show_default": True,
            "help": f"Pose NMS: {', '.join(SUPPRESSORS)}, or a TOML file of learned parameters.",
        },
        "--associate": {
            "type": click.Choice(list(ASSOCIATORS)),
            "default": "none",
            "show_default": True,
            "help": "Share joints out among people who overlap (docs/crowds.md).",
        },
    }
    running: dict[str, dict[str, Any]] = {
        "--min-score": {
            "type": Number(0, 1),
            "default": min_score,
            "show_default": True,
            "help": "Lowest score of a pose in the results.",
        },
        "--max-people": {
            "type": click.IntRange(1),
            "default": 100,
            "show_default": True,
            "help": "Most people in one image; the best boxes are kept.",
        },
        "--flip-test": {
            "is_flag": True,
            "help": "Also run every person mirrored: slower, a little better.",
        },
        "--batch": {
            "type": click.IntRange(1),
            "default": 4,
            "show_default": True,
            "help": "People in one call of the pose model; GPUs want 16.",
        },
        "--threads": {"type": click.IntRange(0), "default": 0, "help": "Cores to use; 0 = all."},
        "--device": {"type": click.Choice(DEVICES), "default": "auto", "show_default": True},
    }
    return [
        (name, settings | {"section": section})
        for section, flags in ((MODELS, models), (RUNNING, running))
        for name, settings in flags.items()
    ]
