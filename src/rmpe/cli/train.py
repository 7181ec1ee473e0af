"""``rmpe train``."""

from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. optim.lr=1e-3.")
@click.option("--resume", is_flag=True, help="Go on from the state in the run's folder.")
def train(config: Path, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a pose estimator, or SSTN and pose estimator, as CONFIG (TOML) says. See docs/training.md."""
    from rmpe.config import load_config
    from rmpe.training.fit import TrainConfig, Trainer

    trainer = Trainer(load_config(TrainConfig, config, overrides), click.echo)
    if resume:
        trainer.resume()
    click.echo(f"wrote {trainer.fit()}")
