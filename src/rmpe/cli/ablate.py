"""``rmpe ablate``."""

import sys
from pathlib import Path

import click

from rmpe.ablation.ablate import ablate as run
from rmpe.ablation.plan import AblationConfig
from rmpe.config import find_shipped, load_config


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value, e.g. detector=ssd.onnx.",
)
@click.option("--no-train", is_flag=True, help="Leave out the rows whose runs are not finished.")
def ablate(config: Path, overrides: tuple[str, ...], no_train: bool) -> None:
    """Train or load the rows that CONFIG (TOML) lists, measure them, and write a table with a plot.

    The same command goes on after an interruption. See docs/ablation.md.
    """
    loaded = load_config(AblationConfig, find_shipped(config), overrides)
    try:
        written = run(loaded, click.echo, train=not no_train)
    except KeyboardInterrupt:
        click.echo(
            f"stopped; what is done is kept in {loaded.out}: the same command goes on", err=True
        )
        sys.exit(130)
    click.echo((loaded.out / "ablation.md").read_text("utf-8"))
    for path in written:
        click.echo(f"wrote {path}")
