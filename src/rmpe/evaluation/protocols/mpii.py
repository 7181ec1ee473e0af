"""MPII multi-person: AP per joint, people matched by PCKh at half a head size."""

from typing import Any

from rmpe.evaluation.files.frames import Footage
from rmpe.evaluation.matching.joint_ap import group_means, joint_figures, mean_ap, rank_joints


def evaluate_mpii(footage: Footage) -> dict[str, Any]:
    """MPII's figures in percent: ``AP`` per joint, ``group_AP``, ``total_AP_14``, and counts."""
    ranked = rank_joints(footage.frames, len(footage.joint_names))
    by_joint = joint_figures(ranked)
    figures: dict[str, Any] = {
        name: dict(zip(footage.joint_names, values, strict=True))
        for name, values in by_joint.items()
    }
    return figures | {
        "group_AP": group_means(footage, by_joint["AP"]),
        "total_AP_14": mean_ap(ranked),
    }
