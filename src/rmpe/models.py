"""Which model is meant: a file, or the one that is installed."""

from importlib import resources
from pathlib import Path

from rmpe.errors import ModelError

KINDS = ("detector", "pose", "stn")


def resolve_model(name_or_path: str | Path | None, kind: str) -> Path:
    """The file of a model.

    Args:
        name_or_path: An ONNX file, the name of a model that ships, or ``None`` for the default of its kind.
        kind: ``detector``, ``pose`` or ``stn``.

    Raises:
        ModelError: If there is no such file or model, with what to do.
    """
    shipped = shipped_models()
    if name_or_path is None:
        name_or_path = next((name for name in shipped if name.startswith(kind)), None)
        if name_or_path is None:
            raise ModelError(f"no default {kind} model is installed: name an ONNX file with --{kind} FILE")
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = f"; installed: {', '.join(shipped)}" if shipped else ""
    raise ModelError(f"{name_or_path}: no such model file{known}")


def shipped_models() -> dict[str, Path]:
    """Name -> file of the models that ship with the package."""
    folder = Path(str(resources.files("rmpe") / "data" / "models"))
    return {file.stem: file for file in sorted(folder.glob("*.onnx"))}
