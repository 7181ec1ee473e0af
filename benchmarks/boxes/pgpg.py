"""Are the errors of the detector that ships those that the pose model was trained for (PGPG)?

YOLOX-nano, whose errors PGPG learned from coco-train, stands beside it; both are run on the photos
of ``configs/dev.txt``, which the detector that ships was not trained on.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder
from benchmarks.record import ROOT, show
from rmpe.detect import load_detector
from rmpe.files import read_names
from rmpe.learn.detector_errors import match_coco
from rmpe.learn.pgpg import choose_sizes
from rmpe.media.images import read_image
from rmpe.models import resolve_model
from rmpe.propose.pgpg import Pgpg
from rmpe.skeletons import load_skeleton

EDGES = ("left", "top", "right", "bottom")
COLUMNS = ["boxes", "IoU cut", "pairs"]
COLUMNS += [f"{edge} {figure}" for figure in ("mean", "sd", "IQR/1.35") for edge in EDGES]
COLUMNS += ["% found", "median IoU", "by YOLOX-nano's PGPG", "by its own", "atoms x parts"]
CUT = 0.5


def spread(name: str, cut: float, offsets: np.ndarray) -> list:
    quartiles = np.percentile(offsets, [25, 75], axis=0)
    return [
        name,
        cut,
        len(offsets),
        *offsets.mean(axis=0).tolist(),
        *offsets.std(axis=0).tolist(),
        *((quartiles[1] - quartiles[0]) / 1.349).tolist(),
    ]


def detect(train: Path, model: Path, names: set[str], out: Path) -> Path:
    """COCO box results of a detector on the photos named."""
    detector = load_detector(model, threads=1)
    results = []
    for image in json.loads((train / "annotations.json").read_text("utf-8"))["images"]:
        if image["file_name"] not in names:
            continue
        found = detector(read_image(train / "images" / image["file_name"]))
        sides = np.concatenate([found.xyxy[:, :2], found.sides], axis=1)
        results += [
            {"image_id": image["id"], "category_id": 1, "bbox": box, "score": score}
            for box, score in zip(
                np.round(sides, 2).tolist(), np.round(found.scores, 4).tolist(), strict=True
            )
        ]
    out.write_text(json.dumps(results), "utf-8")
    return out


@benchmark("data", "detector", "save")
def main(data, detector, save):
    train = folder(data, "coco-train")
    dev = read_names(ROOT / "configs" / "dev.txt")
    joints = load_skeleton("coco17")
    trained_with = Pgpg.load(ROOT / "configs" / "pgpg_yolox_nano.toml")
    rows = []
    for model in (data / "models" / "yolox_nano.onnx", resolve_model(detector, "detector")):
        with tempfile.TemporaryDirectory() as name:
            found = detect(train, model, dev, Path(name) / "boxes.json")
            matches = match_coco(train / "annotations.json", found, joints)
        kept = matches[matches.ious >= CUT]
        atoms = trained_with.atoms_of(kept.keypoints, kept.visible)
        theirs = trained_with.log_likelihood(kept.offsets, atoms).mean()
        own = choose_sizes(kept)[0]
        shares = [100 * len(kept) / len(matches), float(np.median(kept.ious))]
        sizes = f"{own.sizes.atoms} x {own.sizes.parts}"
        rows.append(
            [*spread(model.stem, CUT, kept.offsets), *shares, theirs, own.log_likelihood, sizes]
        )
    show(
        "pgpg-shipped",
        save=save,
        title="PGPG: the shipped detector's errors",
        data=(
            f"the {len(dev)} photos of configs/dev.txt, which the shipped detector was not"
            " trained on"
        ),
        columns=COLUMNS,
        rows=rows,
        notes=(
            "Each true box with its best detection, at IoU 0.5 or more. The last two columns are"
            " log-likelihoods a person of the offsets: by the PGPG that training used"
            " (configs/pgpg_yolox_nano.toml, learned on coco-train, these photos among them), and"
            " by one learned from this detector's own boxes, held out by 5-fold cross-validation,"
            " with the sizes chosen for it (atoms x parts)."
        ),
    )


if __name__ == "__main__":
    main()
