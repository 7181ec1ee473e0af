"""Fetch the engines of the page in the browser: ONNX Runtime Web, into ``out/engines``.

    python website/engines.py
    python website/engines.py --archive onnxruntime-web-1.30.0.tgz    # a file that you have

npm is asked for the archive, so its own settings decide where it comes from. The archive's hash is
pinned here: another file is never used.
"""

import gzip
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

VERSION = "1.30.0"
ARCHIVE_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
FOLDER = Path(__file__).resolve().parent.parent / "out" / "engines" / VERSION


@dataclass(frozen=True)
class Engine:
    """One build of the engine.

    Attributes:
        script: Its JavaScript.
        wasm: Its WebAssembly, which is kept packed: hosts of static pages do not pack it.
    """

    script: str
    wasm: str


ENGINES = {
    "wasm": Engine("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": Engine("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}


def there(folder: Path = FOLDER) -> bool:
    """Whether everything has been fetched."""
    names = [name for one in ENGINES.values() for name in (one.script, f"{one.wasm}.gz")]
    return all((folder / name).is_file() for name in names)


def fetch(folder: Path) -> Path:
    """Ask npm for the archive; its path.

    Raises:
        click.ClickException: If npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise click.ClickException("npm is missing: install it, or name the file with --archive")
    command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = [*done.stderr.strip().splitlines(), "no message"][0]
        raise click.ClickException(f"npm pack failed: {last}; or name a file with --archive")
    return folder / f"onnxruntime-web-{VERSION}.tgz"


def unpack(archive: Path, folder: Path) -> None:
    """Take the engines out of the archive, after a look at its hash.

    Raises:
        click.ClickException: If it is another file.
    """
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        raise click.ClickException(
            f"{archive} is not onnxruntime-web {VERSION}: SHA-256 {found}, not {ARCHIVE_SHA256}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:

        def contents(name: str) -> bytes:
            file = tar.extractfile(f"package/{name}")
            if file is None:
                raise click.ClickException(f"{archive}: has no {name}")
            return file.read()

        for engine in ENGINES.values():
            (folder / engine.script).write_bytes(contents(f"dist/{engine.script}"))
            packed = gzip.compress(contents(f"dist/{engine.wasm}"), mtime=0)
            (folder / f"{engine.wasm}.gz").write_bytes(packed)


@click.command()
@click.option("--archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(archive: Path | None) -> None:
    """Fetch the engines, if they are not there."""
    if there():
        return
    with tempfile.TemporaryDirectory() as folder:
        unpack(archive or fetch(Path(folder)), FOLDER)
    click.echo(f"onnxruntime-web {VERSION} is in {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
