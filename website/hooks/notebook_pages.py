"""Notebooks as pages: their text and code, and a link to the notebook itself."""

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = "notebooks"


def page(name: str, notebook: dict[str, Any]) -> str:
    """Markdown of a notebook."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    link = f"[Download this notebook]({name}.ipynb)"
    return "\n\n".join([parts[0], link, *parts[1:]]) + "\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each notebook."""
    for path in sorted((Path(config.docs_dir) / FOLDER).glob("*.ipynb")):
        text = page(path.stem, json.loads(path.read_text("utf-8")))
        files.append(File.generated(config, f"{FOLDER}/{path.stem}.md", content=text))
    return files
