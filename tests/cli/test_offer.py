"""A model of the catalogue that is missing is offered on a terminal, and nowhere else."""

import os
import signal
import subprocess
import sys
import time
from threading import Thread

import pytest
from conftest import ROOT

pty = pytest.importorskip("pty", reason="no terminals of this kind here")
pytest.importorskip("onnx")

from benchmarks.robustness.hostile_publisher import (
    NAME,
    Behaviour,
    Publisher,
    made_catalogue,
    made_model,
)

PHOTO = ROOT / "examples" / "basketball1.png"
INTERRUPT = "Ctrl-C"
# The command line as it is, with a catalogue of one made model.
SCRIPT = """
import signal
import sys
import rmpe.cli.fetch
import rmpe.models
from benchmarks.robustness.hostile_publisher import made_catalogue
made = made_catalogue("http://nowhere.invalid", zip_file=False)
rmpe.models.shipped_catalogue = rmpe.cli.fetch.shipped_catalogue = lambda: made
sys.argv = ["rmpe", *sys.argv[1:]]
# Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
rmpe.cli.main()
"""


def interrupt(child):
    """Ctrl-C, as often as it takes.

    A signal that comes after the prompt is shown and before the read begins is only seen when the
    read ends.
    """
    for seconds in (1, 10, 10):
        time.sleep(seconds)
        if child.poll() is None:
            child.send_signal(signal.SIGINT)


class Terminal:
    """``rmpe predict`` that wants the made detector, with a terminal for its questions.

    Attributes:
        code: Its exit code.
        shown: What the terminal showed.
    """

    def __init__(self, answers, out, address):
        ours, its = pty.openpty()
        predict = ["predict", str(PHOTO), "--out", str(out), "--detector", NAME, "--no-draw"]
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *predict],
            cwd=ROOT,
            stdin=its,
            stdout=subprocess.DEVNULL,
            stderr=its,
            env=os.environ | {"RMPE_HOME": str(out / "home"), "RMPE_MIRROR": address},
        )
        os.close(its)
        waiting = list(answers)
        self.shown = ""
        try:
            while data := os.read(ours, 4096):
                self.shown += data.decode()
                if self.shown.endswith("[y/N]: ") and waiting:
                    answer = waiting.pop(0)
                    if answer == INTERRUPT:
                        Thread(target=interrupt, args=(child,), daemon=True).start()
                    else:
                        os.write(ours, answer.encode())
        except OSError:  # the other end is closed
            pass
        self.code = child.wait(60)
        os.close(ours)


@pytest.fixture
def publisher():
    with Publisher() as server:
        server.paths = {"/m.onnx": Behaviour(made_model())}
        yield server


@pytest.mark.parametrize(
    ("answers", "code", "requests", "said"),
    [
        (["\n"], 2, 0, "nothing was downloaded"),
        (["n\n"], 2, 0, "nothing was downloaded"),
        (["what?\n", "no\n"], 2, 0, "nothing was downloaded"),
        (["\x04"], 2, 0, "nothing was downloaded"),
        ([INTERRUPT], 2, 0, "nothing was downloaded"),
        (["y\n"], 0, 1, "1 people"),
    ],
)
def test_a_missing_model_is_offered(tmp_path, publisher, answers, code, requests, said):
    done = Terminal(answers, tmp_path, publisher.address)
    assert done.code == code, done.shown
    assert f"not installed: rmpe models get {NAME}" in done.shown
    assert f"from {publisher.address.rpartition('/')[2]}, CC0" in done.shown
    assert "Traceback" not in done.shown
    assert publisher.asked["/m.onnx"] == requests
    installed = tmp_path / "home" / "models" / f"{NAME}.onnx"
    assert installed.is_file() == (tmp_path / "coco.json").is_file() == bool(requests)


def test_where_nobody_can_be_asked_one_line_says_the_command(tmp_path, publisher):
    catalogue = made_catalogue("http://nowhere.invalid", zip_file=False)
    entry = catalogue.models[0]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "predict", str(PHOTO), "--detector", NAME],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"RMPE_HOME": str(tmp_path), "RMPE_MIRROR": publisher.address},
    )
    assert done.returncode == 2
    line = f"rmpe: not installed: rmpe models get {NAME} ({entry.size}, CC0)\n"
    assert done.stderr == line
    assert not publisher.asked
