"""The Python reference: the public names in one table, and a page a room of the package."""

import inspect
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import rmpe

PACKAGE = Path(rmpe.__file__).parent
FOLDER = PurePosixPath("api")
LEFT_OUT = {"cli", "__main__", "__init__"}  # the command line has a reference of its own


def rooms() -> dict[str, list[str]]:
    """Room of the package -> its modules, both by their full names."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] in LEFT_OUT:
            continue
        module = ".".join(("rmpe", *(part for part in parts if part != "__init__")))
        found.setdefault(parts[0], []).append(module)
    return found


def public_page() -> str:
    """What ``import rmpe`` gives."""
    rows = []
    for name, module in sorted(rmpe._PUBLIC.items(), key=lambda item: item[0].lower()):
        thing = getattr(rmpe, name)
        says = (inspect.getdoc(thing) or "").partition("\n")[0].replace("``", "`")
        room = module.split(".")[1]
        rows.append(f"| [`rmpe.{name}`]({room}.md#{module}.{name}) | {says} |")
    listed = "\n".join(f"- [rmpe.{room}]({room}.md)" for room in rooms())
    return (
        "# Python\n\n```python\nimport rmpe\n\nestimator = rmpe.load()\n"
        'poses = estimator(rmpe.read_image("photo.jpg"))\n```\n\n'
        "## Public names\n\n| name | what |\n|---|---|\n" + "\n".join(rows) + "\n\n"
        f"## Modules\n\n{listed}\n"
    )


def pages() -> dict[str, str]:
    """Markdown of every page of the Python reference by its path."""
    made = {str(FOLDER / "index.md"): public_page()}
    for room, modules in rooms().items():
        blocks = "\n\n".join(
            f"::: {module}\n    options: {{heading_level: 2}}" for module in modules
        )
        made[str(FOLDER / f"{room}.md")] = f"# rmpe.{room}\n\n{blocks}\n"
    return made


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
