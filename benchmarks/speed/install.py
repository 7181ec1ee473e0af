"""A wheel in a clean environment: megabytes, seconds, and the main job outside the repository."""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from benchmarks.options import benchmark
from benchmarks.record import ROOT, show


def run(*arguments, cwd):
    started = time.perf_counter()
    subprocess.run(
        [str(argument) for argument in arguments], cwd=cwd, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def megabytes(folder):
    return (
        sum(
            file.stat().st_size
            for file in folder.rglob("*")
            if file.is_file() and not file.is_symlink()
        )
        / 1e6
    )


@benchmark("save")
def main(save):
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
        wheel = next(folder.glob("*.whl"))
        venv.create(folder / "clean", with_pip=True)
        python = folder / "clean" / "bin" / "python"
        site = next((folder / "clean" / "lib").glob("python*/site-packages"))
        before = megabytes(site)
        pip = (python, "-m", "pip", "install", "--quiet", "--no-cache-dir", wheel)
        seconds = run(*pip, cwd=folder)
        size = megabytes(site) - before
        picture = ROOT / "examples" / "basketball1.png"
        command = (python, "-m", "rmpe", "predict", picture, "--out", folder / "out")
        first = run(*command, cwd=folder)
        again = min(run(*command, cwd=folder) for _ in range(3))
        rows = [
            ["wheel, MB", wheel.stat().st_size / 1e6],
            ["everything installed, MB", size],
            ["pip install, s", seconds],
            ["first rmpe predict, s", first],
            ["rmpe predict afterwards, s", again],
        ]
    show(
        "install",
        save=save,
        title="A wheel in a clean environment",
        data="examples/basketball1.png, one picture drawn",
        columns=["what", "figure"],
        rows=rows,
        notes="The seconds of pip depend on the network.",
    )


if __name__ == "__main__":
    main()
