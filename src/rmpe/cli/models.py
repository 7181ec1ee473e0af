"""``rmpe models``: which models and model cards there are; add models, choose the defaults."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from rmpe.cards import ModelCard, find_card, shipped_cards
from rmpe.cli.commands import HelpfulGroup
from rmpe.models import KINDS, add_model, default_model, installed_models, remove_model, use_model
from rmpe.runtime import Session


@click.group(cls=HelpfulGroup, invoke_without_command=True, meant={"list": "rmpe models"})
@click.pass_context
def models(context: click.Context) -> None:
    """List the installed models, and the published ones whose model cards ship with the package."""
    if context.invoked_subcommand is None:
        _list()


@models.command()
@click.argument("name")
@click.argument("source", metavar="URL_OR_PATH")
@click.option("--sha256", help="Hash of the file; needed for a download.")
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its model card (TOML).",
)
def add(name: str, source: str, sha256: str | None, card: Path | None) -> None:
    """Install an ONNX model (or a zip file with one in it) under NAME."""
    found = add_model(name, source, sha256, card)
    click.echo(
        f"{name}: a {found.kind} model, card {found.name!r}, decoder {found.decoder}, licence {found.license}"
    )
    click.echo(f"make it the default: rmpe models use {name}")


@models.command()
@click.argument("name")
def use(name: str) -> None:
    """Make the installed model NAME the default of its kind."""
    click.echo(f"{name} is now the default {use_model(name).kind} model")


@models.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the added model NAME."""
    remove_model(name)
    click.echo(f"{name} removed")


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the whole card of the installed model NAME."""
    file = installed_models().get(name, Path(name))
    click.echo(find_card(Session(file, "cpu")).to_toml(), nl=False)


def _list() -> None:
    console = Console()
    installed = installed_models()
    if installed:
        defaults = {default_model(kind) for kind in KINDS}
        table = Table("name", "kind", "default", "card", "size", "MB", "licence", title="Installed")
        for name, file in installed.items():
            card = find_card(Session(file, "cpu"))
            size = "x".join(map(str, card.size)) if all(card.size) else "of the model"
            default = "yes" if name in defaults else ""
            table.add_row(
                name,
                card.kind,
                default,
                card.name,
                size,
                f"{file.stat().st_size / 1e6:.1f}",
                card.license,
            )
        console.print(table)
    else:
        console.print(
            "No model is installed: rmpe models add NAME FILE, or name files with --detector, --pose"
        )
    table = Table("card", "kind", "decoder", "recognised by", "licence", title="Model cards")
    for card in shipped_cards():
        table.add_row(card.name, card.kind, card.decoder, "; ".join(_signs(card)), card.license)
    console.print(table)


def _signs(card: ModelCard) -> list[str]:
    """What a card knows its models by."""
    signs = [f"file {digest[:12]}..." for digest in card.sha256]
    signs += [f"outputs {', '.join(card.outputs)}"] if card.outputs else []
    return signs + ([f"name has {', '.join(card.family)}"] if card.family else [])
