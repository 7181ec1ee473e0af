"""A wheel in a clean environment: megabytes, seconds, and the main job outside the repository.

python benchmarks/install.py --detector M --pose M [--save]
"""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import click
from record import ROOT, show


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


@click.command()
@click.option("--detector", help="Left out: the models that ship.")
@click.option("--pose")
@click.option("--save", is_flag=True)
def install(detector, pose, save):
    models = [
        f"--{kind}={Path(file).resolve()}"
        for kind, file in (("detector", detector), ("pose", pose))
        if file
    ]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
        wheel = next(folder.glob("*.whl"))
        venv.create(folder / "clean", with_pip=True)
        python = folder / "clean" / "bin" / "python"
        site = next((folder / "clean" / "lib").glob("python*/site-packages"))
        before = megabytes(site)
        seconds = run(
            python, "-m", "pip", "install", "--quiet", "--no-cache-dir", wheel, cwd=folder
        )
        size = megabytes(site) - before
        command = [
            python,
            "-m",
            "rmpe",
            "predict",
            ROOT / "examples" / "basketball1.png",
            "--out",
            folder / "out",
            *models,
        ]
        first = run(*command, cwd=folder)
        again = min(run(*command, cwd=folder) for _ in range(3))
        rows = [
            ["wheel, MB", round(wheel.stat().st_size / 1e6, 2)],
            ["everything installed, MB", round(size, 1)],
            ["pip install, s", round(seconds, 1)],
            ["first rmpe predict, s", round(first, 2)],
            ["rmpe predict afterwards, s", round(again, 2)],
        ]
    named = [
        f"--{kind} {Path(file).name}"
        for kind, file in (("detector", detector), ("pose", pose))
        if file
    ]
    show(
        "install",
        save=save,
        title="A wheel in a clean environment",
        command=" ".join(["python benchmarks/install.py", *named, "--save"]),
        data="examples/basketball1.png, one picture drawn",
        columns=["what", "figure"],
        rows=rows,
        notes="Seconds of pip depend on the network.",
    )


if __name__ == "__main__":
    install()
