"""``python -m rmpe``."""

from rmpe.cli import main

main()
