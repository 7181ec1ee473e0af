"""Peak memory of `rmpe predict` as the folder grows: it must not.

python benchmarks/memory.py FOLDER --detector M --pose M [--save]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from record import record

from rmpe.media.sources import find_images


def peak_megabytes(arguments):
    """Peak resident memory of a child process."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{' '.join(arguments)} failed with status {status}")
    return usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


@click.command()
@click.argument("folder")
@click.option("--detector", required=True)
@click.option("--pose", required=True)
@click.option("--copies", default=[1, 10], multiple=True, show_default=True)
@click.option("--save", is_flag=True)
def memory(folder, detector, pose, copies, save):
    photos = [item.path for item in find_images([folder])]
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for count in copies:
            many = Path(root) / str(count)
            many.mkdir()
            for copy in range(count):
                for photo in photos:
                    (many / f"{copy}_{photo.name}").symlink_to(photo.resolve())
            command = [
                sys.executable,
                "-m",
                "rmpe",
                "predict",
                str(many),
                "--out",
                str(many / "out"),
                "--quiet",
            ]
            # Only likely people, so that 2,500 photos take minutes: memory hangs on the photos.
            command += ["--min-score", "0.3"]
            peak = peak_megabytes([*command, "--detector", detector, "--pose", pose, "--no-draw"])
            rows.append([count * len(photos), round(peak, 1)])
            click.echo(f"{rows[-1][0]:>6} images  {rows[-1][1]:>7.1f} MB")
    if save:
        record(
            "memory",
            title="Peak memory of rmpe predict",
            command=f"python benchmarks/memory.py {folder} --detector {Path(detector).name}"
            f" --pose {Path(pose).name} --save",
            data=f"{Path(folder).parent.name}, repeated",
            columns=["images", "peak MB"],
            rows=rows,
        )


if __name__ == "__main__":
    memory()
