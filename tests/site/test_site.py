"""The site builds, names every page, and asks nobody else for anything."""

import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
import yaml
from conftest import ROOT

pytest.importorskip("mkdocs")
pytest.importorskip("material")
pytest.importorskip("mkdocstrings")

sys.path.append(str(ROOT / "website" / "hooks"))
from demo_files import OWN, SHARED, whole_page
from navigation import expanded, listed, unlisted

FOREIGN = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^)\"']+)")
TASKS = {  # what a newcomer wants -> the pages that begin it
    "photos": {"photo_table.html", "formats.html"},
    "video": {"video.html"},
    "measure": {"knee_angle.html", "kinematics.html"},
    "train": {"training.html"},
    "evaluate": {"evaluation.html"},
    "serve": {"serve.html"},
    "scale": {"farm.html"},
}


class Loader(yaml.SafeLoader):
    """Reads ``mkdocs.yml`` without looking into its references to Python."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
CONFIG = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Loader)


@pytest.mark.parametrize(
    ("page", "script"),
    [
        (lambda: (SHARED / "index.html").read_text("utf-8"), SHARED / "app.js"),
        (whole_page, OWN / "demo.js"),
    ],
    ids=["rmpe serve", "in the browser"],
)
def test_both_pages_have_each_element_of_their_scripts_once(page, script):
    """Page and service share a script and parts of their HTML."""
    html = page()
    used = set()
    for part in (script, SHARED / "page.js"):
        used |= set(re.findall(r"\$\('(\w+)'\)", part.read_text("utf-8")))
    there = re.findall(r'\bid="(\w+)"', html)
    assert len(there) == len(set(there))
    assert used <= set(there)


def test_every_page_has_a_place():
    missing = unlisted(CONFIG["nav"], ROOT / "docs")
    assert not missing, f"add to nav in mkdocs.yml: {missing}"


@pytest.mark.parametrize(
    ("nav", "pages", "expected"),
    [
        ([], [], []),
        (["a.md"], ["a.md", "b.md"], ["a.md"]),
        ([{"In": "in/"}], ["in/b.md", "in/index.md"], [{"In": ["in/index.md", "in/b.md"]}]),
        ([{"A": [{"In": "in/"}]}], ["in/x.md", "y.md"], [{"A": [{"In": ["in/x.md"]}]}]),
    ],
)
def test_a_folder_in_the_navigation_becomes_its_pages(nav, pages, expected):
    assert expanded(nav, pages) == expected


def test_a_page_that_nobody_placed_is_found(tmp_path):
    for name in ("a.md", "b.md", "in/c.md", "out/d.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    nav = ["a.md", {"In": "in/"}]
    assert listed(nav) == {"a.md", "in/"}
    assert unlisted(nav, tmp_path) == ["b.md", "out/d.md"]


class Resources(HTMLParser):
    """What a page loads by itself, and what its text links to (not its menus)."""

    def __init__(self):
        super().__init__()
        self.loads = []
        self.links = []
        self.text = 0

    def handle_endtag(self, tag):
        self.text -= tag == "article"

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.text += tag == "article"
        if tag == "a":
            self.links += [found.get("href") or ""] if self.text else []
        elif tag == "link":
            if found.get("rel") not in ("canonical", "next", "prev"):
                self.loads.append(found.get("href") or "")
        else:
            for name in ("src", "srcset", "poster", "data", "action"):
                self.loads += filter(None, (found.get(name) or "").split(","))


def test_resources_are_found():
    page = Resources()
    page.feed(
        '<link href="//a.b/c.css"><img src="x.png"><a href="menu"></a>'
        '<article><a href="far"></a></article>'
    )
    assert page.loads == ["//a.b/c.css", "x.png"]
    assert page.links == ["far"]


COMPARED = tomllib.loads((ROOT / "website" / "compared.toml").read_text("utf-8"))


@pytest.mark.parametrize("tool", COMPARED["tools"], ids=lambda tool: tool["name"])
def test_every_cell_of_the_comparison_has_its_source(tool):
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", tool["read"])
    assert tool["cells"].keys() == COMPARED["questions"].keys()
    for question, (short, more, source) in tool["cells"].items():
        assert short and more, question
        assert source.startswith("https://") or (tool["name"] == "rmpe" and source.endswith(".md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def pages_of(site):
    found = {}
    for path in site.rglob("*.html"):
        page = Resources()
        page.feed(path.read_text("utf-8"))
        found[path.relative_to(site).as_posix()] = page
    return found


@pytest.mark.slow
def test_no_page_loads_anything_from_another_host(site):
    found = pages_of(site)
    assert len(found) > 40
    for name, page in found.items():
        foreign = [address for address in page.loads if urlsplit(address.strip()).netloc]
        assert not foreign, (name, foreign)
    for style in site.rglob("*.css"):
        inside = re.findall(
            r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^)\"']+)", style.read_text()
        )
        assert not inside, (style, inside)


@pytest.mark.slow
def test_every_task_is_at_most_two_clicks_away(site):
    found = pages_of(site)

    def targets(name):
        return {link.partition("#")[0] for link in found[name].links} & found.keys()

    once = targets("index.html")
    twice = once | {target for name in once if "/" not in name for target in targets(name)}
    for task, goals in TASKS.items():
        assert goals & twice, task


@pytest.mark.slow
def test_every_command_and_public_name_has_a_place(site):
    import rmpe
    from rmpe.cli import COMMANDS

    for command in COMMANDS:
        text = (site / "commands" / f"{command}.html").read_text("utf-8")
        assert f"Usage: rmpe {command}" in text
    index = (site / "api" / "index.html").read_text("utf-8")
    for name in set(rmpe.__all__) - {"__version__"}:
        assert f"rmpe.{name}<" in index
