"""``rmpe models``: which models and model cards there are."""

import click
from rich.console import Console
from rich.table import Table

from rmpe.cards import shipped_cards
from rmpe.models import shipped_models


@click.command()
def models() -> None:
    """List the installed models, and the published ones whose model cards ship with the package."""
    console = Console()
    installed = shipped_models()
    console.print(
        "Installed: " + (", ".join(installed) if installed else "none; name ONNX files with --detector, --pose")
    )
    table = Table("card", "kind", "decoder", "recognised by", "licence", title="Model cards")
    for card in shipped_cards():
        signs = [f"file {digest[:12]}..." for digest in card.sha256]
        signs += [f"outputs {', '.join(card.outputs)}"] if card.outputs else []
        signs += [f"name has {', '.join(card.family)}"] if card.family else []
        table.add_row(card.name, card.kind, card.decoder, "; ".join(signs), card.license)
    console.print(table)
