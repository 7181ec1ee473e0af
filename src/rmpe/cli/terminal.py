"""What the commands share at the terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler


@contextmanager
def warnings_to(console: Console) -> Iterator[None]:
    """Show the library's warnings on a console while the block runs, above its progress bar."""
    handler = RichHandler(
        logging.WARNING, console, show_time=False, show_path=False, show_level=False
    )
    logger = logging.getLogger("rmpe")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
