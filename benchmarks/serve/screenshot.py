"""The picture of the page in docs/serve.md: ``python -m benchmarks.serve.screenshot``.

It needs the extra ``browser`` and Chromium (see docs/serve.md).
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.serve.acceptance import Server

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "examples" / "basketball1.png"
OUT = ROOT / "docs" / "serve_page.png"
SIZE = {"width": 1180, "height": 720}


def main():
    folder = Path(tempfile.mkdtemp())
    server = Server(folder, "--stn", "stn-lite")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector("body[data-ready=yes]")
        page.set_input_files("#file", str(PHOTO))
        page.wait_for_selector("#people button")
        page.focus("circle[data-person='0'][data-joint='9']")
        # Times are those of a machine that does other things, too.
        page.eval_on_selector("#times", "line => line.remove()")
        page.screenshot(path=str(OUT))
        browser.close()
    server.end()
    shutil.rmtree(folder)
    print(f"wrote {OUT}, {OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
