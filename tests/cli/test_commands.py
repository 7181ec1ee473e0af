"""Help that is never cut, sections of flags, hints for mistyped commands."""

import subprocess
import sys

import pytest
from click.testing import CliRunner
from conftest import ROOT

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


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "configs/lite_cpu.toml"],
        ["export", "models/pose-lite.safetensors", "--out", "."],
    ],
)
def test_without_torch_one_line_says_what_to_install(arguments):
    code = (
        "import sys; sys.modules['torch'] = None; "
        f"sys.argv = ['rmpe', *{arguments!r}]; import rmpe.cli; rmpe.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr == "rmpe: torch is not installed: pip install 'rmpe[train]'\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["track", "x", "--fps", "nan"],
        ["track", "x", "--fps", "inf"],
        ["track", "x", "--trails", "1e300"],
        ["predict", "x", "--draw-min-score", "nan"],
        ["kinematics", "x", "--cutoff", "nan"],
        ["serve", "--timeout", "inf"],
    ],
)
def test_a_number_that_is_none_is_refused_in_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    result = run(*arguments)
    assert result.exit_code == 2
    assert arguments[-2] in result.output
