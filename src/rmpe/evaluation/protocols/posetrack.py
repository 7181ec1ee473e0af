"""PoseTrack: AP per joint, CLEAR MOT per joint, and HOTA over people.

Tracks are counted twice. The main figures follow the released poseval, for comparison with
published ones: it skips the last frame of every sequence and counts a frame without predictions as
one missed person. ``clean_all_frames`` counts all frames without these exceptions.
"""

from typing import Any

import numpy as np

from rmpe.errors import DataError
from rmpe.evaluation.files.frames import Footage
from rmpe.evaluation.matching import clear_mot, hota
from rmpe.evaluation.matching.clear_mot import MotCounts
from rmpe.evaluation.matching.hota import HotaCounts
from rmpe.evaluation.matching.joint_ap import group_means, joint_figures, mean_ap, rank_joints
from rmpe.fields import cut
from rmpe.skeletons import load_skeleton


def evaluate_posetrack(footage: Footage) -> dict[str, Any]:
    """PoseTrack's figures in percent; lists are in the order of the joints.

    Predictions without track ids are ignored in the tracking figures, with a warning in
    ``footage.warnings``. If no prediction has a track id, there are no tracking figures.
    """
    joints = len(footage.joint_names)
    # As in poseval, frames without annotated people are skipped with their predictions.
    ranked = rank_joints([frame for frame in footage.frames if len(frame.truth)], joints)
    by_joint = joint_figures(ranked)
    figures: dict[str, Any] = {
        "AP": by_joint["AP"],
        "AP_mean": mean_ap(ranked),
        "AP_precision_last": by_joint["precision_last"],
        "AP_recall_last": by_joint["recall_last"],
        "AP_printed_groups": group_means(footage, by_joint["AP"]) | {"total": mean_ap(ranked)},
    }
    ids = np.concatenate([np.zeros(0, np.int64), *(frame.point_ids for frame in footage.frames)])
    if without := int(np.sum(ids < 0)):
        footage.warnings.append(
            f"{without} of {len(ids)} predictions have no track id: left out of tracking"
        )
    return figures if without == len(ids) > 0 else figures | _tracking(footage, joints)


def _tracking(footage: Footage, joints: int) -> dict[str, Any]:
    videos = {
        sequence.name: [frame.tracked for frame in sequence.frames]
        for sequence in footage.sequences
    }
    reference = {
        name: clear_mot.count_mot(frames[:-1], joints, empty_as_one=True)
        for name, frames in videos.items()
    }
    clean = [clear_mot.count_mot(frames, joints) for frames in videos.values()]
    people = [hota.count_hota(frames, sigmas_of(footage)) for frames in videos.values()]
    per_sequence = {name: counts.figures() for name, counts in reference.items()}
    return (
        sum(reference.values(), MotCounts.zero(joints)).figures()
        | {
            "MOTA_per_sequence": {
                name: [*f["MOTA"], f["MOTA_mean"]] for name, f in per_sequence.items()
            }
        }
        | sum(people, HotaCounts.zero()).figures()
        | {"clean_all_frames": sum(clean, MotCounts.zero(joints)).figures()}
    )


def sigmas_of(footage: Footage) -> tuple[float, ...]:
    """OKS constants of the joints; PoseTrack's ``neck`` and ``head_bottom`` are the upper neck.

    Raises:
        DataError: If one is no joint of PoseTrack.
    """
    skeleton = load_skeleton("posetrack15")
    same = {"neck": "upper_neck", "head_bottom": "upper_neck"}
    known = {same.get(name, name) for name in skeleton.joints}
    if foreign := [name for name in footage.joint_names if same.get(name, name) not in known]:
        raise DataError(
            f"{cut(foreign[0])!r} is no joint of PoseTrack, so HOTA has no constant for it; known:"
            f" {', '.join(skeleton.joints)}"
        )
    return tuple(
        skeleton.sigmas[skeleton.joints.index(same.get(name, name))] for name in footage.joint_names
    )
