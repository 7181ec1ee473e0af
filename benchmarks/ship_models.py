"""Make the models that ship from trained checkpoints: export, add words and measured figures to the card, keep both.

    python benchmarks/ship_models.py detector-person=runs/detector/small/model.safetensors \\
        pose-lite=runs/lite_cpu/model.safetensors stn-lite=runs/proof/stn/model.safetensors

Writes ``src/rmpe/data/models/NAME.onnx`` with the card of ``configs/cards/NAME.toml`` inside, and the checkpoint in
half precision to ``models/NAME.safetensors``, to fine-tune from. Figures come from ``docs/results``: measure the models
(``default_models.py``, ``default_speed.py``), then call this again without arguments.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import onnx
from record import RESULTS, ROOT

from rmpe.cards import METADATA_KEY, ModelCard, find_card
from rmpe.export import export_checkpoint, read_about
from rmpe.nets.checkpoint import load_checkpoint, save_checkpoint
from rmpe.runtime import Session

SHIPPED = ROOT / "src" / "rmpe" / "data" / "models"
CHECKPOINTS = ROOT / "models"


def export(name: str, checkpoint: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (file,) = export_checkpoint(
            checkpoint, Path(folder), about=read_about(ROOT / "configs" / "cards" / f"{name}.toml")
        )
        SHIPPED.mkdir(parents=True, exist_ok=True)
        (SHIPPED / f"{name}.onnx").write_bytes(file.read_bytes())
    net, config = load_checkpoint(checkpoint)
    CHECKPOINTS.mkdir(exist_ok=True)
    save_checkpoint(CHECKPOINTS / f"{name}.safetensors", net.half(), config)


def rows(record: str) -> list[dict]:
    file = RESULTS / f"{record}.json"
    if not file.is_file():
        return []
    found = json.loads(file.read_text())
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def figures(kind: str) -> list[str]:
    """What was measured, a line each."""
    models, ours = rows("default-models"), ("default detector", "default pose")
    lines = []
    for row in models:
        of_pose = kind == "pose" and row["pose model"] == ours[1] and row["STN"] == "no"
        if of_pose or (kind == "detector" and row["boxes"] == ours[0] and row["STN"] == "no"):
            lines.append(
                f"coco-val, {row['boxes']}, {row['pose model']}: keypoint AP {row['AP']:.1f} +- {row['+-']:.1f}, medium"
                f" {row['AP_medium']:.1f}, large {row['AP_large']:.1f}, sparse photos {row['AP sparse']:.1f}, crowded"
                f" {row['AP crowded']:.1f}"
            )
        if kind == "stn" and row["STN"] == "yes":
            lines.append(
                f"coco-val, {row['boxes']}, {row['pose model']}: keypoint AP {row['gain with STN']} with the STN"
            )
    for row in rows("detectors"):
        if kind == "detector" and row["detector"].startswith("rmpe"):
            lines.append(f"coco-val: box AP {100 * row['AP']:.1f}, AP50 {100 * row['AP50']:.1f}, {row['ms']:.0f} ms")
    return lines


def add_figures(file: Path) -> None:
    about = read_about(ROOT / "configs" / "cards" / f"{file.stem}.toml")
    card: ModelCard = find_card(Session(file))
    notes = "\n".join([about["notes"], *figures(card.kind)])
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {METADATA_KEY: replace(card, **(about | {"notes": notes})).to_toml()})
    onnx.save(model, file)


def main() -> None:
    for argument in sys.argv[1:]:
        name, _, checkpoint = argument.partition("=")
        export(name, Path(checkpoint))
    for file in sorted(SHIPPED.glob("*.onnx")):
        add_figures(file)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
