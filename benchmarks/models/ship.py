"""Make the models that ship from trained checkpoints, and write measured figures on their cards.

``detector-person=runs/person_detector_fine/model.safetensors`` writes the ONNX file
``src/rmpe/data/models/detector-person.onnx`` in int8, with ``configs/cards/detector-person.toml``
as its card; ``models/detector-person.safetensors``, the checkpoint in half precision to fine-tune
from; and the log of the run beside it. Of several checkpoints, with commas between, the mean of the
weights ships, with the log of the first. The figures come from ``docs/results``: measure the new
models (``benchmarks.models.default``, ``.detectors``), then call this again without arguments.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import onnx
import torch

from benchmarks.options import benchmark
from benchmarks.people import folder
from benchmarks.record import RESULTS, ROOT, read
from rmpe.ablation.runs import CHECKPOINT
from rmpe.cards import METADATA_KEY, ModelCard, find_card
from rmpe.export import export_checkpoint, export_int8, read_about
from rmpe.models import DEFAULTS
from rmpe.nets.checkpoint import load_checkpoint, save_checkpoint
from rmpe.runtime import Session

SHIPPED = ROOT / "src" / "rmpe" / "data" / "models"
CHECKPOINTS = ROOT / "models"
# Of the STN that ships, by `benchmarks.boxes.sstn_keep`, and its name: it stands before the pose
# models.
STN = {"keep_overlap": 0.85, "second_look": True}
BEFORE = "stn-lite"
# (height, width) of inputs that are not those of the training, chosen on the photos of
# configs/dev.txt: the detector's largest; a taller one for people, most of whom are.
INPUTS = {"detector-person": (384, 384), "pose-hr": (288, 192)}


def sized(name: str, checkpoint: Path, size=None):
    """A net and its configuration, with inputs of the size that ships, or of another."""
    net, config = load_checkpoint(checkpoint)
    return net, config | {"size": size or INPUTS.get(name, config["size"])}


def quantised(name: str, checkpoint: Path, data: Path, out: Path, size=None) -> Path:
    """``out/NAME.onnx``, as it would ship, or with inputs of another size."""
    net, config = sized(name, checkpoint, size)
    with tempfile.TemporaryDirectory() as scratch:
        save_checkpoint(Path(scratch) / CHECKPOINT, net, config)
        (exported,) = export_checkpoint(
            Path(scratch) / CHECKPOINT,
            Path(scratch),
            about=read_about(ROOT / "configs" / "cards" / f"{name}.toml"),
        )
        file = out / f"{name}.onnx"
        out.mkdir(parents=True, exist_ok=True)
        file.write_bytes(exported.read_bytes())
    card = find_card(Session(file))
    # coco-more holds no photo of configs/dev.txt, on which models are compared.
    more = folder(data, "coco-more")
    export_int8(file, more / "annotations.json", more / "images", file)
    if card.kind == "pose":
        write_card(file, replace(card, stn=BEFORE))
    if card.kind == "stn":
        write_card(file, replace(card, **STN))
    return file


def export(name: str, checkpoint: Path, data: Path) -> None:
    quantised(name, checkpoint, data, SHIPPED)
    net, config = sized(name, checkpoint)
    CHECKPOINTS.mkdir(exist_ok=True)
    save_checkpoint(CHECKPOINTS / f"{name}.safetensors", net.half(), config)
    if (log := checkpoint.with_name("log.jsonl")).is_file():
        shutil.copyfile(log, CHECKPOINTS / f"{name}.log.jsonl")


def mean_of(checkpoints: list[Path], out: Path) -> Path:
    """The mean of the weights of runs that parted from one checkpoint, with the log of the first.

    Source: Wortsman et al., Model soups, ICML 2022.
    """
    net, config = load_checkpoint(checkpoints[0])
    states = [load_checkpoint(file)[0].state_dict() for file in checkpoints]
    net.load_state_dict(
        {
            name: torch.stack([state[name].double() for state in states]).mean(0).to(first.dtype)
            for name, first in states[0].items()
        }
    )
    file = out / CHECKPOINT
    save_checkpoint(file, net, config)
    if (log := checkpoints[0].with_name("log.jsonl")).is_file():
        shutil.copyfile(log, out / log.name)
    return file


def one_of(checkpoints: str, out: Path) -> Path:
    """The file named, or of several with commas between the mean."""
    files = [Path(file) for file in checkpoints.split(",")]
    return mean_of(files, out) if len(files) > 1 else files[0]


def rows(name: str) -> list[dict]:
    """A recorded table, a dictionary a row; none if it was never recorded."""
    if not (RESULTS / f"{name}.json").is_file():
        return []
    table = read(name)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def figures(kind: str, name: str) -> list[str]:
    """What was measured, a line each."""
    measured_as = "default pose" if name == DEFAULTS["pose"] else name
    lines = []
    for row in rows("default-models"):
        of_pose = kind == "pose" and row["pose model"] == measured_as
        of_detector = kind == "detector" and row["boxes"] == "default detector"
        if row["STN"] == "yes" and (of_pose or of_detector):
            lines.append(
                f"coco-val, {row['boxes']}, {row['pose model']}: keypoint AP {row['AP']:.1f} +-"
                f" {row['+-']:.1f}, medium {row['AP_medium']:.1f}, large {row['AP_large']:.1f},"
                f" sparse photos {row['AP sparse']:.1f}, crowded {row['AP crowded']:.1f}"
            )
        if kind == "stn" and row["STN"] == "yes":
            lines.append(
                f"coco-val, {row['boxes']}, {row['pose model']}: keypoint AP {row['gain with STN']}"
                " with the STN"
            )
    for row in rows("detectors"):
        if kind == "detector" and row["detector"].startswith("rmpe"):
            lines.append(
                f"coco-val, {row['detector']}: box AP {100 * row['AP']:.1f},"
                f" AP50 {100 * row['AP50']:.1f}, {row['ms']:.0f} ms"
            )
    return lines


def add_figures(file: Path) -> None:
    about = read_about(ROOT / "configs" / "cards" / f"{file.stem}.toml")
    card: ModelCard = find_card(Session(file))
    notes = "\n".join([about["notes"], *figures(card.kind, file.stem)])
    write_card(file, replace(card, **(about | {"notes": notes})))


def write_card(file: Path, card: ModelCard) -> None:
    model = onnx.load(file)
    others = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, others | {METADATA_KEY: card.to_toml()})
    onnx.save(model, file)


@benchmark("data")
@click.argument("made", nargs=-1, metavar="[NAME=CHECKPOINT]...")
def main(data, made):
    for argument in made:
        name, _, checkpoints = argument.partition("=")
        with tempfile.TemporaryDirectory() as out:
            export(name, one_of(checkpoints, Path(out)), data)
    for file in sorted(SHIPPED.glob("*.onnx")):
        add_figures(file)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
