"""What all commands share: help in sections, lazy groups, and a hint for a mistyped command."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click


class Number(click.FloatRange):
    """A finite number in a range; click's own range lets NaN through, and infinity where open."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, or one line that it is none."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class SectionOption(click.Option):
    """An option that `SectionCommand` lists under a heading of its own."""

    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class SectionCommand(click.Command):
    """A command whose ``--help`` lists `SectionOption`s under their headings, after its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list of options a section."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                name = parameter.section if isinstance(parameter, SectionOption) else "Options"
                sections.setdefault(name, []).append(record)
        for name, records in sections.items():
            with formatter.section(name):
                formatter.write_dl(records)


class HelpfulGroup(click.Group):
    """A group that lists its commands with their whole first line and hints at mistyped ones.

    Args:
        meant: Words that people try from habit -> what to type here.
    """

    def __init__(self, *args: Any, meant: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.meant = dict(meant or {})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands; a line that is too long is wrapped, never cut."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(1000)) for name, command in commands if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may be meant."""
        word = args[0]
        known = self.list_commands(ctx)
        if self.get_command(ctx, word) is not None or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        if word in self.meant:
            hint = f"did you mean `{self.meant[word]}`?"
        elif near := get_close_matches(word, known, 1, 0.5):
            hint = f"did you mean `{ctx.command_path} {near[0]}`?"
        else:
            hint = f"commands: {', '.join(known)}"
        ctx.fail(f"no such command {word!r}; {hint}")


class LazyGroup(HelpfulGroup):
    """A group that imports a command only when the command is run or its help is shown.

    Args:
        table: Name of a command -> ``module:attribute``.
    """

    def __init__(self, *args: Any, table: dict[str, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
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
