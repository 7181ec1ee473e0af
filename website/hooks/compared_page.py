"""The page that compares with other projects, from ``website/compared.toml``."""

import tomllib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from benchmarks.record import read
from rmpe.catalogue import shipped_catalogue

TABLE = Path(__file__).resolve().parent.parent / "compared.toml"
PAGE = "compared.md"
HEAD = Path(__file__).resolve().parent.parent / "text" / "compared.md"


def table() -> dict[str, Any]:
    """The comparison, with our own figures filled in."""
    data = tomllib.loads(TABLE.read_text("utf-8"))
    models = [entry.ap for entry in shipped_catalogue().models if "keypoints" in entry.measure]
    ours = read("default-models").at("AP", "default detector", "default pose", "no")
    figures = {"ap": f"{ours:.1f}", "published": f"{max(models):.1f}"}
    data["figures"] = figures
    for tool in data["tools"]:
        tool["cells"] = {
            question: [text.format(**figures) for text in cell]
            for question, cell in tool["cells"].items()
        }
    return data


def row(cells: list[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The page: what to know first, the table, and the sources."""
    data = table()
    tools = data["tools"]
    lines = [HEAD.read_text("utf-8").format(**data["figures"]), "## At a glance", ""]
    lines.append(row(["", *(f"[{tool['name']}]({tool['home']})" for tool in tools)]))
    lines.append(row(["---"] * (len(tools) + 1)))
    for question, title in data["questions"].items():
        lines.append(row([f"**{title}**", *(tool["cells"][question][0] for tool in tools)]))
    lines += ["", "## Sources", ""]
    for tool in tools:
        lines += [f"### {tool['name']}", "", f"Read on {tool['read']}.", ""]
        lines += [row(["question", "answer", "more", "source"]), row(["---"] * 4)]
        for question, title in data["questions"].items():
            short, more, where = tool["cells"][question]
            lines.append(row([title, short, more, f"[source]({where})"]))
        lines.append("")
    return "\n".join(lines)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
