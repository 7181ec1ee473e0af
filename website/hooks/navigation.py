"""The navigation: folders in ``nav`` become their pages, and no page is ever lost."""

import logging
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import Files

LOG = logging.getLogger("mkdocs.hooks.navigation")
REST = "Guides"  # where a page that ``nav`` does not name is shown


def listed(nav: list[Any]) -> set[str]:
    """Every page and folder that a navigation names."""
    found: set[str] = set()
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found |= listed(value) if isinstance(value, list) else {value}
    return found


def expanded(nav: list[Any], pages: list[str]) -> list[Any]:
    """The navigation with each folder (``commands/``) replaced by its pages, its index first."""
    done: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            ((title, value),) = entry.items()
            if isinstance(value, list):
                value = expanded(value, pages)
            elif value.endswith("/"):
                inside = [page for page in pages if page.startswith(value)]
                value = sorted(inside, key=lambda page: (page != f"{value}index.md", page))
            done.append({title: value})
        else:
            done.append(entry)
    return done


def unlisted(nav: list[Any], docs: Path) -> list[str]:
    """The pages written by hand that a navigation does not name."""
    named = listed(nav)
    pages = (path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    return sorted(
        page for page in pages if page not in named and f"{page.partition('/')[0]}/" not in named
    )


@event_priority(-100)  # after the hooks that make pages
def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Complete the navigation."""
    nav = config.nav or []
    missing = unlisted(nav, Path(config.docs_dir))
    pages = [file.src_uri for file in files.documentation_pages()]
    config.nav = expanded(nav, pages)
    for entry in config.nav:
        if REST in entry:
            entry[REST] += missing
    if missing:
        LOG.info("not named in mkdocs.yml, so shown at the end of %s: %s", REST, missing)
    return files
