"""The command reference: a page a command, made from the command line itself."""

from collections.abc import Iterator
from pathlib import PurePosixPath

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from rmpe.cli import rmpe

FOLDER = PurePosixPath("commands")
WIDTH = 84  # characters that fit beside the menu
HEAD = """# Commands

    rmpe --help
    rmpe predict --help

| command | does |
|---|---|
"""


def commands(context: click.Context) -> Iterator[click.Context]:
    """The commands of a group, each in a context of its own."""
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None, name
            yield click.Context(
                command,
                info_name=name,
                parent=context,
                max_content_width=WIDTH,
                terminal_width=WIDTH,
            )


def section(context: click.Context, level: int) -> str:
    """The help of a command as it is printed, and of the commands below it."""
    below = "".join(section(inner, level + 1) for inner in commands(context))
    help_text = context.command.get_help(context)
    return f"{'#' * level} {context.command_path}\n\n```text\n{help_text}\n```\n\n{below}"


def pages() -> dict[str, str]:
    """Markdown of every page of the command reference by its path."""
    root = click.Context(rmpe, info_name="rmpe", max_content_width=WIDTH, terminal_width=WIDTH)
    rows = []
    made = {}
    for context in commands(root):
        name = context.info_name
        rows.append(f"| [`rmpe {name}`]({name}.md) | {context.command.get_short_help_str(1000)} |")
        made[str(FOLDER / f"{name}.md")] = section(context, 1)
    head = (
        "# Commands\n\n    rmpe --help\n    rmpe predict --help\n\n| command | does |\n|---|---|\n"
    )
    return {str(FOLDER / "index.md"): head + "\n".join(rows) + "\n", **made}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
