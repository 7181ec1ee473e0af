"""Object keypoint similarity (OKS) of poses, and OKS-NMS, the common rival of parametric NMS."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import greedy_nms
from rmpe.poses import Poses
from rmpe.suppress.clusters import ranking


def pairwise_oks(poses: Poses) -> NDArray[np.float64]:
    """OKS of every pair of ``poses``, ``(N, N)``.

    The mean runs over the joints present in both poses; without any, the OKS is 0. The scale is
    the mean area of the two boxes, so the matrix is symmetric.

    Source: COCO keypoint evaluation (Ronchi and Perona, ICCV 2017), with boxes in place of
    annotated areas.
    """
    points = poses.keypoints.astype(np.float64)
    present = poses.keypoint_scores > 0
    areas = np.prod(
        np.maximum(poses.boxes[:, 2:] - poses.boxes[:, :2], 1), axis=1, dtype=np.float64
    )
    variances = (
        np.square(2 * np.array(poses.skeleton.sigmas))
        * (areas[:, None, None] + areas[None, :, None])
        / 2
    )
    squared = np.square(np.nan_to_num(points)[:, None] - np.nan_to_num(points)[None]).sum(axis=3)
    common = present[:, None] & present[None]
    similarity = np.where(common, np.exp(-squared / (2 * variances)), 0).sum(axis=2)
    result: NDArray[np.float64] = similarity / np.maximum(common.sum(axis=2), 1)
    return result


def oks_nms(poses: Poses, threshold: float = 0.9) -> Poses:
    """Greedy NMS that removes poses whose OKS with a better pose exceeds ``threshold``; best first.

    Source: Papandreou et al., "Towards accurate multi-person pose estimation in the wild", CVPR
    2017, section 3.3.
    """
    poses = poses[ranking(poses)]
    return poses[greedy_nms(pairwise_oks(poses), poses.scores, threshold)]
