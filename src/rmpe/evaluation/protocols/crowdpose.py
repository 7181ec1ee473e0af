"""CrowdPose: OKS with its own constants and areas, and AP by crowding.

Source: Li et al., CrowdPose (CVPR 2019), and its released evaluation code;
``docs/evaluation.md`` lists the rules.
"""

from dataclasses import replace
from typing import Any

from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import BOX_SHARE, People, Record
from rmpe.evaluation.protocols import coco
from rmpe.evaluation.protocols.crowding import ap_by_crowding, image_crowding, levels
from rmpe.skeletons import load_skeleton


def evaluate_crowdpose(
    people: People, results: list[Record], engine: coco.Engine | None = None
) -> tuple[dict[str, Any], coco.CocoEvaluation]:
    """Evaluate checked results by CrowdPose's protocol.

    A person's area is 0.53 times the box area, whatever the file says; there are no size classes.
    The crowd index is computed for images without ``crowdIndex``.

    Returns:
        CrowdPose's figures as fractions (the levels also rounded to four digits, as in the released
        tool), and the underlying evaluation.

    Raises:
        DataError: If the people do not have CrowdPose's 14 joints.
    """
    skeleton = load_skeleton("crowdpose14")
    if people.joints != len(skeleton):
        raise DataError(
            f"CrowdPose annotations have {len(skeleton)} joints, these have {people.joints}"
        )
    evaluation = coco.evaluate_coco(
        with_box_areas(people), results, "keypoints", skeleton.sigmas, engine
    )
    crowding = image_crowding(people)
    figures = {
        name: evaluation.figures[name] for name in ("AP", "AP50", "AP75", "AR", "AR50", "AR75")
    }
    by_level = {f"AP_{name}": value for name, value in ap_by_crowding(evaluation, crowding).items()}
    figures |= by_level | {f"{name}_rounded4": round(value, 4) for name, value in by_level.items()}
    figures |= {name: evaluation.figures[name] for name in ("AP_per_threshold", "AR_per_threshold")}
    figures |= {"n_images": len(people.images)}
    figures |= {f"n_{name}": int(chosen.sum()) for name, chosen in levels(crowding).items()}
    return figures | {"n_people": len(people.annotations), "n_detections": len(results)}, evaluation


def with_box_areas(people: People) -> People:
    """The same people with CrowdPose's areas: 0.53 times the box area."""
    areas = [
        BOX_SHARE * annotation["bbox"][2] * annotation["bbox"][3]
        for annotation in people.annotations
    ]
    annotations = [a | {"area": area} for a, area in zip(people.annotations, areas, strict=True)]
    return replace(people, annotations=annotations)
