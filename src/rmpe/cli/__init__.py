"""The command line: one file per command, loaded only when it is called."""

import os
import sys
from importlib import import_module

import click

from rmpe import __version__
from rmpe.cli.commands import LazyGroup
from rmpe.errors import NotInstalledError, RmpeError
from rmpe.extras import extra_of, missing_line

# name -> module:attribute; nothing here is imported before the command is asked for.
COMMANDS = {
    "predict": "rmpe.cli.predict:predict",
    "track": "rmpe.cli.track:track",
    "farm": "rmpe.cli.farm:farm",
    "serve": "rmpe.cli.serve:serve",
    "ui": "rmpe.cli.serve:ui",
    "kinematics": "rmpe.cli.kinematics:kinematics",
    "heatmaps": "rmpe.cli.heatmaps:heatmaps",
    "dataset": "rmpe.cli.dataset:dataset",
    "train": "rmpe.cli.train:train",
    "ablate": "rmpe.cli.ablate:ablate",
    "models": "rmpe.cli.models:models",
    "doctor": "rmpe.cli.doctor:doctor",
    "evaluate": "rmpe.cli.evaluate:evaluate",
    "learn": "rmpe.cli.learn:learn",
    "export": "rmpe.cli.export:export",
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="rmpe")
def rmpe() -> None:
    """Everybody's pose, from photos and video (RMPE: SSTN, parametric pose NMS, PGPG)."""


# Only where a model is missing: it loads what dials out.
OFFER = "rmpe.cli.fetch"


def main() -> None:
    """Entry point: a user error becomes one line and exit code 2.

    Any other exception is a fault of ours and keeps its traceback. On a terminal a model of the
    catalogue that is missing is offered, and the command starts anew once it is there.
    """
    # OpenCV reports broken files on its own; we report them by name.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        while True:
            try:
                rmpe(standalone_mode=True)
            except NotInstalledError as error:
                if not (sys.stdin.isatty() and sys.stderr.isatty()):
                    raise
                click.echo(f"rmpe: {error}", err=True)
                import_module(OFFER).offer(error.name)
    except RmpeError as error:
        click.echo(f"rmpe: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = extra_of(package)
        if extra is None:
            raise
        click.echo(f"rmpe: {missing_line(package, extra)}", err=True)
        sys.exit(2)
