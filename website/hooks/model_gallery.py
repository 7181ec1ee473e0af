"""The page of models: a card for each that ships and each that the catalogue names.

Every figure comes from a recorded table, the model's own card or the catalogue.
The pictures are what the models find while the site is built.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import cv2
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from benchmarks.record import Record, read
from rmpe.cards import ModelCard, find_card
from rmpe.catalogue import Entry, shipped_catalogue
from rmpe.draw import draw_poses
from rmpe.media.images import read_image
from rmpe.options import load
from rmpe.runtime import Session
from rmpe.skeletons import load_skeleton

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "src" / "rmpe" / "data" / "models"
PAGE = "model_gallery.md"
KINDS = {
    "detector": "Person detector",
    "pose": "Pose estimator",
    "one-stage": "Boxes and joints at once",
    "stn": "Spatial transformer",
}
EXAMPLE = ROOT / "examples" / "basketball1.png"
DRAWN_SCORE = 0.3
# Alternative text and file of each picture; `drawn` makes the first two.
PICTURES = {
    "detector-person": ("Boxes that the detector finds in an example photo", "drawn_boxes.jpg"),
    "pose-hr": ("Joints that the pose estimator finds in those boxes", "drawn_joints.jpg"),
    "stn-lite": ("The transformer's boxes, dashed, over loose ones", "hero.jpg"),
}
HEAD = Path(__file__).resolve().parent.parent / "text" / "model_gallery.md"


def source(record: Record) -> str:
    """Where a figure comes from, for the end of its line."""
    return f"[{record.data}, {record.date}](results/{record.name}.json)"


def measured() -> dict[str, list[str]]:
    """What was measured of the models that ship, by name."""
    models = read("default-models")
    speed = read("default-speed")
    detectors = read("detectors")
    ways = {  # pose model: what it is called in the tables of AP and of speed
        "pose-hr": ("default pose", "the models that ship"),
        "pose-lite": ("pose-lite", "the models that ship, pose-lite"),
    }
    box = detectors.at("AP", "rmpe person detector, small")
    box_ms = detectors.at("ms", "rmpe person detector, small")

    def both(other: str, pose: str) -> str:
        ap, spread = (models.at(name, "default detector", pose, "no") for name in ("AP", "+-"))
        return f"With `{other}`: **keypoint AP {ap:.1f}** +- {spread:.1f}; {source(models)}"

    return {
        "detector-person": [
            f"**Box AP {100 * box:.1f}**, {box_ms:.1f} ms a photo on two threads; "
            f"{source(detectors)}",
            *(both(name, pose) for name, (pose, _) in ways.items()),
        ],
        **{
            name: [
                both("detector-person", pose),
                f"In true boxes: keypoint AP {models.at('AP', 'true boxes', pose, 'no'):.1f}; "
                f"{source(models)}",
                f"{speed.at('ms a further person', way):.1f} ms a further person; {source(speed)}",
            ]
            for name, (pose, way) in ways.items()
        },
        "stn-lite": [
            f"{name} boxes: keypoint AP {models.at('gain with STN', row, pose, 'yes')} for {pose}; "
            f"{source(models)}"
            for name, row in (("On loose", "boxes of IoU 0.5"), ("On true", "true boxes"))
            for pose in ("default pose", "TinyPose")
        ],
    }


def card(title: str, picture: str, lines: Iterable[str]) -> str:
    """One card of a grid."""
    body = "\n".join(f"    - {line}" for line in lines)
    shown = f"    {picture}\n\n" if picture else ""
    return f"-   **`{title}`**\n\n    ---\n\n{shown}{body}\n"


def joints(model: ModelCard) -> str:
    """The skeleton in words."""
    return f"{len(load_skeleton(model.skeleton))} joints ({model.skeleton})"


def shipped() -> str:
    """Cards of the models that ship."""
    figures = measured()
    cards = []
    for path in sorted(MODELS.glob("*.onnx")):
        model = find_card(Session(path, "cpu", 1))
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        lines = [f"{KINDS[model.kind]}, {size}, input {model.size[0]}x{model.size[1]}"]
        lines += [joints(model)] if model.kind == "pose" else []
        lines += figures.get(path.stem, [])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += [f"Licence: {model.license}", f"SHA-256: `{digest[:16]}…`"]
        picture = "![{}]({})".format(*PICTURES[path.stem]) if path.stem in PICTURES else ""
        cards.append(card(path.stem, picture, lines))
    return "\n".join(cards)


def drawn() -> dict[str, bytes]:
    """JPEG files of what the models that ship find in the example photo, by name."""
    image = read_image(EXAMPLE)
    estimator = load(threads=1)
    boxes = estimator.detector(image, EXAMPLE.name)
    poses = estimator.estimate(image, boxes)
    nobody = poses[:0]
    sure = boxes.xyxy[boxes.scores >= DRAWN_SCORE]
    pictures = {
        "drawn_boxes.jpg": draw_poses(image, nobody, other_boxes=sure),
        "drawn_joints.jpg": draw_poses(image, poses, min_score=DRAWN_SCORE),
    }
    return {
        name: bytes(cv2.imencode(".jpg", picture[..., ::-1])[1])
        for name, picture in pictures.items()
    }


def published(entry: Entry) -> str:
    """The card of one published model."""
    model = entry.card
    lines = [f"{KINDS[model.kind]}, {entry.size}, input {model.size[0]}x{model.size[1]}"]
    lines += [joints(model)] if model.kind in ("pose", "one-stage") else []
    lines += [
        f"**AP {entry.ap:.1f}** by its publisher ({entry.measure}; {entry.ap_source}); "
        "speed not measured here",
        f"Licence: {model.license}" + (f"; {entry.doubts}" if entry.doubts else ""),
        f"Trained on {entry.people}; {entry.cite}; {entry.trust}",
        f"`rmpe models get {entry.name}`",
    ]
    return card(entry.name, "", lines)


def page() -> str:
    """The page."""
    grid = '<div class="grid cards" markdown>\n\n{}\n</div>\n'
    parts = [HEAD.read_text("utf-8"), "## Models that ship\n", grid.format(shipped())]
    for kind, title in KINDS.items():
        found = [one for one in shipped_catalogue().models if one.card.kind == kind]
        if found:
            parts.append(f"## Published: {title.lower()}\n")
            parts.append(grid.format("\n".join(map(published, found))))
    return "\n".join(parts)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    for name, contents in drawn().items():
        files.append(File.generated(config, name, content=contents))
    return files
