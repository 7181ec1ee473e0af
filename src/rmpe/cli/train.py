"""``rmpe train``."""

import itertools
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from rmpe.config import find_shipped, load_config, read_toml, shipped_configs
from rmpe.errors import UsageError


def _list(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the configurations that ship, each with the first sentence of its header."""
    if not wanted:
        return
    table = Table("name", "what it trains", box=None)
    for file in sorted(shipped_configs().glob("*.toml")):
        data = read_toml(file)
        if "run" in data:
            header = itertools.takewhile(lambda line: line.startswith("#"), file.open("r"))
            text = " ".join(line.strip("# \n") for line in header)
            table.add_row(file.stem, text.partition(". ")[0].rstrip("."))
    Console().print(table)
    context.exit()


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="List the configurations that ship.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value, e.g. optim.lr=1e-3.",
)
@click.option("--resume", is_flag=True, help="Go on from the state in the run's folder.")
@click.option(
    "--show",
    is_flag=True,
    help="Do not train: draw a page of samples, and the curves of a run that has begun.",
)
def train(config: Path, overrides: tuple[str, ...], resume: bool, show: bool) -> None:
    """Train a pose estimator, SSTN and pose estimator, or a person detector, as CONFIG (TOML) says.

    CONFIG is a file, or the name of one that ships (--list). One with a table ``[photos]`` trains a
    detector. The run's folder gets samples.png and curves.png to look at. See docs/training.md and
    docs/detectors.md.
    """
    from rmpe.training.detector.fit import DetectorConfig
    from rmpe.training.loop import STATE, Trainer
    from rmpe.training.pose.fit import TrainConfig
    from rmpe.training.run import RunConfig

    config = find_shipped(config)
    if not config.exists():
        raise UsageError(f"{config}: no such file, and none that ships: rmpe train --list")
    kind: type[RunConfig] = DetectorConfig if "photos" in read_toml(config) else TrainConfig
    trainer = Trainer(load_config(kind, config, overrides), click.echo)
    if resume or (trainer.worker.restarted and (trainer.config.run / STATE).exists()):
        trainer.resume()
        trainer.log(f"going on from step {trainer.step}")
    if show:
        for picture in trainer.show():
            click.echo(f"wrote {picture}")
        return
    path = trainer.fit()
    trainer.worker.leave()
    if trainer.worker.rank == 0:
        click.echo(f"wrote {path}")
