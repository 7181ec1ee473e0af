"""The command line: one file per command, loaded only when it is called."""

import os
import sys
from importlib import import_module
from typing import Any

import click

from rmpe import __version__
from rmpe.errors import RmpeError

# name -> module:attribute; nothing here is imported before the command is asked for.
COMMANDS = {
    "predict": "rmpe.cli.predict:predict",
    "track": "rmpe.cli.track:track",
    "train": "rmpe.cli.train:train",
    "ablate": "rmpe.cli.ablate:ablate",
    "models": "rmpe.cli.models:models",
    "doctor": "rmpe.cli.doctor:doctor",
    "evaluate": "rmpe.cli.evaluate:evaluate",
    "learn": "rmpe.cli.learn:learn",
    "export": "rmpe.cli.export:export",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is run or its help is shown."""

    def __init__(self, *args: Any, table: dict[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All command names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command, ``None`` if there is no such command."""
        if cmd_name not in self.table:
            return None
        module, attribute = self.table[cmd_name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="rmpe")
def rmpe() -> None:
    """Everybody's pose, from photos and video (RMPE: SSTN, parametric pose NMS, PGPG)."""


def main() -> None:
    """Entry point: user errors become one line and exit code 2, everything else is a bug and keeps its traceback."""
    # OpenCV reports broken files on its own; we report them by name.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        rmpe(standalone_mode=True)
    except RmpeError as error:
        click.echo(f"rmpe: {error}", err=True)
        sys.exit(2)
