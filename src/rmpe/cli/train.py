"""``rmpe train``."""

from pathlib import Path

import click

from rmpe.config import load_config, read_toml


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value, e.g. optim.lr=1e-3.",
)
@click.option("--resume", is_flag=True, help="Go on from the state in the run's folder.")
def train(config: Path, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a pose estimator, SSTN and pose estimator, or a person detector, as CONFIG (TOML) says.

    A CONFIG with a table ``[photos]`` trains a detector. See docs/training.md and
    docs/detectors.md.
    """
    from rmpe.training.detector.fit import DetectorConfig
    from rmpe.training.loop import RunConfig, Trainer
    from rmpe.training.pose.fit import TrainConfig

    kind: type[RunConfig] = DetectorConfig if "photos" in read_toml(config) else TrainConfig
    trainer = Trainer(load_config(kind, config, overrides), click.echo)
    if resume:
        trainer.resume()
    path = trainer.fit()
    trainer.worker.leave()
    if trainer.worker.rank == 0:
        click.echo(f"wrote {path}")
