"""Help that is never cut, sections of flags, hints for mistyped commands."""

import pytest
from click.testing import CliRunner

from rmpe.cli import COMMANDS, rmpe


def run(*arguments):
    return CliRunner().invoke(rmpe, list(arguments))


def test_the_list_of_commands_is_never_cut():
    text = run("--help").output
    commands = text[text.index("Commands:") :]
    assert "..." not in commands
    assert "camera or a network stream." in " ".join(commands.split())
    assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", [["predict"], ["track"], ["evaluate", "coco"]])
def test_flags_of_the_pipeline_have_their_own_sections(command):
    text = run(*command, "--help").output
    general, models, running = (text.index(title) for title in ("Options:", "Models:", "How they"))
    assert general < models < text.index("--detector") < running < text.index("--min-score")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["trak"], "did you mean `rmpe track`?"),
        (["models", "list"], "did you mean `rmpe models`?"),
        (["learn", "mns"], "did you mean `rmpe learn nms`?"),
        (["xyz"], "commands: predict, track"),
    ],
)
def test_a_mistyped_command_gets_a_hint(typed, hint):
    result = run(*typed)
    assert result.exit_code == 2
    assert hint in result.output
