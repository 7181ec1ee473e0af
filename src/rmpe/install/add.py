"""A model of the user's own: a file, or an address."""

import re
from pathlib import Path

from rmpe.cards import ModelCard, card_beside, find_card
from rmpe.download import MOST_BYTES, Progress, download, host_of, is_address
from rmpe.errors import ModelError
from rmpe.install.place import check_name, copy_model, file_name, place, workshop
from rmpe.install.records import FILE, FIRST_USE, Known, known_models, today
from rmpe.install.unzip import unzip
from rmpe.runtime import Session, sha256_of

SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def add_model(
    name: str,
    source: str,
    sha256: str | None = None,
    card: Path | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Install a model under a name.

    Args:
        name: What to call it: letters, digits, ``.``, ``_``, ``-``.
        source: File or http(s) address of an ONNX model, or of a zip file with exactly one in it.
        sha256: What the file, or the model in it, must hash to. Without it a download is trusted
            on first use: later the same address must give the same model.
        card: Its card, if it is neither inside the model nor known by the model's name or outputs.
        progress: Told how far a download is.

    Returns:
        The card it was installed with.

    Raises:
        ModelError: If it cannot be read, is not the file that was meant, or has no card.
    """
    check_name(name)
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise ModelError(f"--sha256 {sha256!r}: a SHA-256 has 64 hexadecimal digits")
    from_network = is_address(source)
    if from_network:
        host_of(source)
    with workshop(name) as folder:
        # The file keeps its own name until its card is found: some cards know their models by a
        # word in it.
        file = folder / file_name(source)
        if from_network:
            download(source, file, progress=progress)
        else:
            copy_model(Path(source), file)
        model = unzip(file, "", MOST_BYTES)
        found = sha256_of(model)
        trust = FIRST_USE if from_network else FILE
        if sha256 is not None:
            hashes = {found, sha256_of(file)}
            if sha256.lower() not in hashes:
                raise ModelError(
                    f"{source}: its SHA-256 is {sha256_of(file)}, not {sha256}: "
                    "not the file that was meant"
                )
            trust = "--sha256"
        elif from_network:
            _check_first_use(source, found)
        if card is None and not from_network:
            card = card_beside(Path(source))
        return place(
            name,
            model,
            _card_of(model, card, source),
            Known(found, source, trust, today()),
        )


def _card_of(model: Path, card: Path | None, source: str) -> ModelCard:
    """The card of a model that is made ready; errors name the source, for the file goes away."""
    try:
        return find_card(Session(model, "cpu"), card)
    except ModelError as error:
        raise ModelError(str(error).replace(str(model), source)) from error


def _check_first_use(address: str, found: str) -> None:
    """Refuse a download that an address gave differently before."""
    for known in known_models().values():
        if known.source == address and known.sha256 != found:
            raise ModelError(
                f"{address}: its SHA-256 is {found}; on {known.date} this address gave "
                f"{known.sha256}. If its publisher says that it changed: --sha256 {found}"
            )
