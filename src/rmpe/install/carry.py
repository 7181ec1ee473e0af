"""Models of a machine with internet, carried to one without it as a folder."""

import shutil
from dataclasses import replace
from pathlib import Path

from rmpe.cards import read_card
from rmpe.catalogue import Catalogue, shipped_catalogue
from rmpe.errors import ModelError
from rmpe.install.place import (
    card_file,
    check_name,
    copy_model,
    place,
    skeleton_file,
    workshop,
)
from rmpe.install.records import (
    FILE,
    Known,
    Outcome,
    known_models,
    read_records,
    today,
    write_records,
)
from rmpe.models import added_models
from rmpe.runtime import sha256_of

MANIFEST = "models.toml"


def export_models(folder: Path) -> list[Outcome]:
    """Copy the models that the user installed, for a machine without internet.

    Raises:
        ModelError: If there is none, one was changed since it was installed, or the folder cannot
            be written.
    """
    models = added_models()
    if not models:
        raise ModelError("nothing to export: no model was added")
    known = known_models()
    records = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in models.items():
            found = sha256_of(file)
            record = known.get(name) or Known(found, str(file), FILE, today())
            if found != record.sha256:
                raise ModelError(
                    f"{file}: changed since it was installed; first: rmpe models remove {name}"
                )
            for part in (file, card_file(name), skeleton_file(name)):
                if part.is_file():
                    shutil.copyfile(part, folder / part.name)
            records[name] = record
        write_records(folder / MANIFEST, records)
    except OSError as error:
        raise ModelError(f"{folder}: cannot export: {error.strerror or error}") from error
    return [Outcome(name, "right", str(folder / file.name)) for name, file in models.items()]


def import_models(folder: Path, catalogue: Catalogue | None = None) -> list[Outcome]:
    """Install what `export_models` has copied.

    A model that has a name of the catalogue and claims to be the catalogue's must have its hash.

    Args:
        folder: The folder.
        catalogue: The catalogue that ships if not given.

    Raises:
        ModelError: If the folder has no manifest, or a file in it is not what the manifest says.
    """
    if not (folder / MANIFEST).is_file():
        raise ModelError(f"{folder}: no {MANIFEST} in it: not a folder of rmpe models export")
    pinned = {entry.name: entry.sha256 for entry in (catalogue or shipped_catalogue()).models}
    outcomes = []
    for name, record in read_records(folder / MANIFEST).items():
        check_name(name)
        source = folder / f"{name}.onnx"
        with workshop(name) as work:
            there = added_models().get(name)
            if there is not None and sha256_of(there) == record.sha256:
                outcomes.append(Outcome(name, "already there", str(there)))
                continue
            if there is not None:
                raise ModelError(
                    f"{there}: another model has this name; first: rmpe models remove {name}"
                )
            model = work / f"{name}.onnx"
            copy_model(source, model)
            expected = {record.sha256}
            if record.trust.startswith("catalogue") and pinned.get(name):
                expected.add(pinned[name])
            found = sha256_of(model)
            if expected != {found}:
                raise ModelError(
                    f"{source}: its SHA-256 is {found}, not {', '.join(sorted(expected - {found}))}"
                )
            card = read_card(folder / f"{name}.toml")
            skeleton = folder / skeleton_file(name).name
            if skeleton.is_file():
                card = replace(card, skeleton=str(skeleton))
            place(name, model, card, record)
            outcomes.append(Outcome(name, "installed", record.trust))
    return outcomes
