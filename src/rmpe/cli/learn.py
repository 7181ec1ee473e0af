"""``rmpe learn``: parameters that are learned from data, without a network."""

import click

from rmpe.cli.commands import LazyGroup

COMMANDS = {
    "pgpg": "rmpe.cli.learn_pgpg:learn_pgpg",
    "nms": "rmpe.cli.learn_nms:learn_nms",
    "people": "rmpe.cli.learn_people:learn_people",
}


@click.group(cls=LazyGroup, table=COMMANDS)
def learn() -> None:
    """Learn the parameters of a stage from data."""
