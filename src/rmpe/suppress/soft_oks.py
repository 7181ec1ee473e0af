"""Soft OKS-NMS: redundant poses are kept with a lower score."""

import numpy as np

from rmpe.poses import Poses
from rmpe.suppress.clusters import ranking
from rmpe.suppress.oks import pairwise_oks


def soft_oks_nms(poses: Poses, sigma: float = 0.9) -> Poses:
    """Multiply the score of every other pose by ``exp(-oks^2 / sigma)``, from the best pose down.

    Args:
        poses: People of one image.
        sigma: Softness; a larger value lowers scores less.

    Returns:
        All poses, best first by their new scores.

    Source: Bodla et al., "Soft-NMS", ICCV 2017, Eq. 3 (Gaussian), with OKS in place of box IoU.
    """
    poses = poses[ranking(poses)]
    decay = np.exp(-np.square(pairwise_oks(poses)) / sigma)
    scores = poses.scores.astype(np.float64)
    waiting = np.ones(len(poses), bool)
    taken = []
    for _ in range(len(poses)):
        best = int(np.argmax(np.where(waiting, scores, -1)))
        taken.append(best)
        waiting[best] = False
        scores[waiting] *= decay[best, waiting]
    kept = poses[np.array(taken, np.int64)]
    return kept.replace(scores=scores[taken])
