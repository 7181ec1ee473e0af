"""``rmpe models``: which models there are, which can be fetched, and which are the defaults."""

import json
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from rmpe.cards import ModelCard, find_card, shipped_cards
from rmpe.catalogue import Entry, shipped_catalogue
from rmpe.cli.commands import HelpfulGroup
from rmpe.cli.fetch import MIRROR_VARIABLE, consent, fetch, progress_of
from rmpe.errors import UsageError
from rmpe.install.add import add_model
from rmpe.install.carry import export_models, import_models
from rmpe.install.get import verify_entry
from rmpe.install.place import remove_model
from rmpe.install.records import Outcome, known_models, verify_models
from rmpe.models import (
    KINDS,
    added_models,
    choices,
    default_model,
    installed_models,
    resolve_model,
    use_model,
)
from rmpe.runtime import Session

YES = click.option("-y", "--yes", is_flag=True, help="Download without asking.")
MIRROR = click.option(
    "--mirror",
    envvar=MIRROR_VARIABLE,
    show_envvar=True,
    help="Address of a folder of your own that holds the same files.",
)


@click.group(cls=HelpfulGroup, invoke_without_command=True, meant={"list": "rmpe models"})
@click.pass_context
def models(context: click.Context) -> None:
    """List the installed models and the model cards; fetch, add, remove models."""
    if context.invoked_subcommand is None:
        _list()


@models.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def catalogue(as_json: bool) -> None:
    """List the published models that `rmpe models get` fetches; nothing is downloaded."""
    shipped = shipped_catalogue()
    rows = [_row(entry) for entry in shipped.models]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    table = Table(
        Column("name", no_wrap=True),
        "kind",
        Column("AP", no_wrap=True),
        "measured on",
        "MB",
        "licence",
        "skeleton",
        "here",
        box=None,
    )
    for row in rows:
        megabytes = f"{row['bytes'] / 1e6:.0f}" if row["bytes"] else "?"
        name = f"{row['name']} *" if row["doubts"] else row["name"]
        cells = (name, row["kind"], f"{row['ap']:.1f}", row["measure"], megabytes)
        table.add_row(*cells, row["license"], row["skeleton"] or "", row["installed"])
    Console().print(table)
    click.echo("AP as published, not verified by rmpe. * = read the doubts: --json")
    for name, members in shipped.bundles.items():
        click.echo(f"bundle {name}: {' + '.join(members)}")


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@YES
@MIRROR
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file that you have already: the publisher's zip or the ONNX model.",
)
def get(names: tuple[str, ...], yes: bool, mirror: str | None, file: Path | None) -> None:
    """Fetch published models by NAME, or a bundle: light, balanced, accurate."""
    shipped = shipped_catalogue()
    entries = shipped.expand(names)
    if file is not None and len(entries) != 1:
        raise UsageError(f"--from {file}: is one model; name one")
    given = f" --mirror {shlex.quote(mirror)}" if mirror else ""
    again = f"rmpe models get {shlex.join(names)}{given} -y"
    fetch(entries, shipped, yes=yes, again=again, mirror=mirror, file=file)
    click.echo(f"make it the default: rmpe models use {shlex.join(names)}")


@models.command()
@click.argument("name")
@click.argument("source", metavar="URL_OR_PATH")
@click.option("--sha256", help="Hash that the file must have; a download without is trusted once.")
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its model card (TOML).",
)
def add(name: str, source: str, sha256: str | None, card: Path | None) -> None:
    """Install an ONNX model (or a zip file with one in it) under NAME."""
    with progress_of(name) as report:
        found = add_model(name, source, sha256, card, report)
    click.echo(
        f"{name}: a {found.kind} model, card {found.name!r}, decoder {found.decoder}, "
        f"licence {found.license}"
    )
    click.echo(f"trusted by: {found.trust}")
    click.echo(f"make it the default: rmpe models use {name}")


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def use(names: tuple[str, ...]) -> None:
    """Make installed models, or a bundle of the catalogue, the default of their kinds."""
    bundles = shipped_catalogue().bundles
    for name in (one for given in names for one in bundles.get(given, [given])):
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
    """Print the whole card of the model NAME, which is installed or an ONNX file."""
    file = resolve_model(name, "pose")  # a kind is for the default model only: NAME is given
    click.echo(find_card(Session(file, "cpu")).to_toml(), nl=False)


@models.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export(folder: Path) -> None:
    """Copy the added models into FOLDER, for a machine without internet."""
    _report(export_models(folder))


@models.command(name="import")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def import_(folder: Path) -> None:
    """Install the models that `rmpe models export` copied into FOLDER."""
    _report(import_models(folder))


@models.command()
def verify() -> None:
    """Hash every added model anew. Exit code 1 if one has changed."""
    outcomes = verify_models()
    _report(outcomes)
    if not outcomes:
        click.echo("no model was added")
    sys.exit(any(outcome.state == "changed" for outcome in outcomes))


@models.command(name="verify-catalogue")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@YES
@MIRROR
def verify_catalogue(names: tuple[str, ...], yes: bool, mirror: str | None) -> None:
    """Fetch published models from every address and compare; installs nothing.

    Exit code 1 if one is not as the catalogue says.
    """
    shipped = shipped_catalogue()
    entries = shipped.expand(names) if names else list(shipped.models)
    line = " ".join(["rmpe models verify-catalogue", *names, "-y"])
    consent(entries, shipped, yes=yes, again=line, mirror=mirror)
    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        for entry in entries:
            with progress_of(entry.name) as report:
                outcomes = verify_entry(entry, Path(folder), mirror=mirror, progress=report)
            _report(outcomes)
            wrong |= any(outcome.state == "wrong" for outcome in outcomes)
    sys.exit(wrong)


def _row(entry: Entry) -> dict[str, Any]:
    """What the catalogue says of one model, with the essentials of its card."""
    card = entry.card
    facts = {name: value for name, value in asdict(entry).items() if name != "card"}
    poses = card.kind in ("pose", "one-stage")
    return facts | {
        "kind": card.kind,
        "license": card.license,
        "skeleton": card.skeleton if poses else None,
        "trust": entry.trust,
        "addresses": list(shipped_catalogue().addresses(entry)),
        "installed": _state(entry),
    }


def _state(entry: Entry) -> str:
    if entry.name not in added_models():
        return "no"
    known = known_models().get(entry.name)
    same = known is not None and known.sha256 == (entry.sha256 or known.sha256)
    return "yes" if same else "another file"


def _report(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        click.echo(f"{outcome.name}: {outcome.state} ({outcome.detail})")


def _list() -> None:
    console = Console()
    installed = installed_models()
    if installed:
        # A choice that is gone stops what uses it, but not the list that tells what there is.
        gone = {kind: name for kind, name in choices().items() if name not in installed}
        defaults = {default_model(kind) for kind in KINDS if kind not in gone}
        typed = Column("name", no_wrap=True)
        table = Table(typed, "kind", "default", "card", "size", "MB", "licence", title="Installed")
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
        for kind, name in gone.items():
            console.print(f"The default {kind} {name!r} is not installed: rmpe models use ANOTHER")
    else:
        console.print(
            "No model is installed: rmpe models get NAME, or name files with --detector, --pose"
        )
    table = Table("card", "kind", "decoder", "recognised by", "licence", title="Model cards")
    for card in shipped_cards():
        table.add_row(card.name, card.kind, card.decoder, "; ".join(_signs(card)), card.license)
    console.print(table)
    console.print("Published models: rmpe models catalogue")


def _signs(card: ModelCard) -> list[str]:
    """What a card knows its models by."""
    signs = [f"file {digest[:12]}..." for digest in card.sha256]
    signs += [f"outputs {', '.join(card.outputs)}"] if card.outputs else []
    return signs + ([f"name has {', '.join(card.family)}"] if card.family else [])
