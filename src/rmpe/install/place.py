"""Where a model is made ready, and how it comes to its place and leaves it."""

import errno
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np

from rmpe.atomic import write_text
from rmpe.cards import ModelCard
from rmpe.detect import DECODERS, WHOLE_IMAGE
from rmpe.errors import ModelError
from rmpe.estimate.crops import network_input
from rmpe.estimate.one_stage import OneStageModel
from rmpe.estimate.pose_model import PoseModel
from rmpe.estimate.stn import NO_STN, Stn
from rmpe.files import home
from rmpe.install.records import Known, add_record
from rmpe.models import added_models, choices, choose, models_folder, shipped_models
from rmpe.runtime import Session

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_name(name: str) -> None:
    """Refuse what cannot name a model.

    Raises:
        ModelError: If it is no harmless file name, the name of a shipped model, or a word that
            `--detector` or `--stn` takes for something else.
    """
    if not NAME.fullmatch(name) or name in {*shipped_models(), WHOLE_IMAGE, NO_STN}:
        raise ModelError(
            f"{name!r} cannot name a model: use up to 100 letters, digits, '.', '_', '-', "
            f"and no shipped model's name, {WHOLE_IMAGE!r} or {NO_STN!r}"
        )


@contextmanager
def workshop(name: str) -> Iterator[Path]:
    """A folder to make a model ready in, for one process at a time; parts of downloads stay.

    Raises:
        ModelError: If it cannot be made or locked.
    """
    folder = home() / "downloads" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be made: {error.strerror}") from error
    with _lock(name):
        folder.mkdir(exist_ok=True)  # whoever held the lock before may have removed it
        try:
            yield folder
        finally:
            for left in folder.iterdir():
                if not left.name.endswith((".part", ".part.json")):
                    left.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()


def copy_model(source: Path, file: Path) -> None:
    """Copy a model file.

    Raises:
        ModelError: If there is no such file, or it cannot be read.
    """
    try:
        if not source.is_file():  # also pipes and devices, which never end
            raise ModelError(f"{source}: cannot read the model: no such file")
        shutil.copyfile(source, file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        fault = f"cannot be copied into {file.parent}" if full else "cannot read the model"
        raise ModelError(f"{source}: {fault}: {reason}") from error


def file_name(source: str) -> str:
    """A harmless file name that keeps the words of a source's own."""
    last = re.split(r"[\\/]", source.partition("?")[0].partition("#")[0])[-1]
    return re.sub(r"[^A-Za-z0-9_.-]", "_", last).lstrip(".")[-100:] or "model.onnx"


def check_model(file: Path, card: ModelCard) -> None:
    """Run a model once, as its card says.

    Raises:
        ModelError: If it cannot be run that way.
    """
    session = Session(file, "cpu")
    if card.kind == "pose":
        PoseModel(session, card)
    elif card.kind == "one-stage":
        OneStageModel(session, card)
    elif card.kind == "detector":
        DECODERS[card.decoder](session, card)(np.zeros((64, 64, 3), np.uint8))
    else:
        session(network_input(np.zeros((1, *Stn(session, card).size, 3), np.uint8), card))


def place(name: str, model: Path, card: ModelCard, record: Known) -> ModelCard:
    """Move a model that was found right to its place, the card first; the model makes it count.

    Args:
        name: What it is called.
        model: Its file in the workshop.
        card: Its card.
        record: What is to be known of it.

    Returns:
        The card with the reason for which the model is trusted.

    Raises:
        ModelError: If it cannot be run as its card says, or the folder cannot be written.
    """
    check_model(model, card)
    try:
        models_folder().mkdir(parents=True, exist_ok=True)
        if card.skeleton.endswith(".toml"):
            copy_model(Path(card.skeleton), skeleton_file(name))
            card = replace(card, skeleton=str(skeleton_file(name).resolve()))
        card = replace(card, trust=f"{record.trust}, {record.date}, SHA-256 {record.sha256}")
        write_text(card_file(name), card.to_toml())
        with _lock("known_models"):
            add_record(name, record)
        model.replace(models_folder() / f"{name}.onnx")
    except OSError as error:
        raise ModelError(
            f"{models_folder()}: cannot install {name}: {error.strerror or error}"
        ) from error
    return card


def remove_model(name: str) -> None:
    """Remove a model that the user installed; a default that it was falls back to what ships.

    Its file may be gone already. Its hash stays known, so that a model that was trusted on first
    use stays the same one.

    Raises:
        ModelError: If the user installed none of that name.
    """
    chosen = choices()
    if name not in {*added_models(), *chosen.values()} - {*shipped_models()}:
        raise ModelError(f"{name}: not a model that was added")
    choose({kind: choice for kind, choice in chosen.items() if choice != name})
    for file in (models_folder() / f"{name}.onnx", card_file(name), skeleton_file(name)):
        file.unlink(missing_ok=True)


@contextmanager
def _lock(name: str) -> Iterator[None]:
    lock = filelock.FileLock(home() / "downloads" / f"{name}.lock")
    try:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            log.warning("%s: another process is at it; waiting", name)
            lock.acquire()
    except OSError as error:
        raise ModelError(f"{lock.lock_file}: cannot be locked: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def card_file(name: str) -> Path:
    """Where the card of an installed model is."""
    return models_folder() / f"{name}.toml"


def skeleton_file(name: str) -> Path:
    """Where the skeleton of an installed model is, if it brought its own."""
    return models_folder() / f"{name}.skeleton.toml"
