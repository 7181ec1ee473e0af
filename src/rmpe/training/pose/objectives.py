"""What each stage of the training minimises (paper section 3.1 and 4.1)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from rmpe.nets.parallel_sppe import ParallelSppe
from rmpe.nets.sstn import theta_loss
from rmpe.training.optim import batch_share, weight_sum
from rmpe.training.pose.batch import Batch
from rmpe.training.pose.hints import hint_loss
from rmpe.training.pose.losses import gaussian_targets, heatmap_loss, joint_candidate_targets
from rmpe.training.run import Parts


@dataclass(frozen=True)
class SstnConfig:
    """Stage 2: SSTN, and what teaches it.

    Attributes:
        localisation: Name of the localisation net in `rmpe.nets.checkpoint.NETS`, and its
            arguments.
        parallel: Weight of the parallel SPPE's loss; the paper gives none, the authors' code adds
            the two. 0 = none.
        parallel_start: Checkpoint of the parallel SPPE, which may be another net than the main one
            (the authors' main net has 8 stacks, the parallel one 4); if not given, it is the net
            that the run starts from.
        theta: Weight of direct supervision by the true transform; not in the paper. 0 = none.
        sampling: What the pose estimator sees: ``crop`` = pixels sampled from the proposal's crop
            (the paper); ``composed`` = pixels sampled once from the image, through theta composed
            with the crop's own map. Train as the net will run: `rmpe export --way`.
    """

    localisation: dict[str, Any] = field(
        default_factory=lambda: {"name": "early_localisation", "motion": "zoom"}
    )
    parallel: float = 1.0
    parallel_start: Path | None = None
    theta: float = 0.0
    sampling: Literal["crop", "composed"] = "crop"

    def __post_init__(self) -> None:
        if self.parallel_start is not None and not self.parallel:
            raise ValueError("parallel_start needs parallel above 0")


def sppe_objective(
    net: nn.Module,
    batch: Batch,
    sigma: float,
    distill: float = 0.0,
    interference: float = 0.0,
    hint: float = 1.0,
) -> Parts:
    """Stage 1: the pose estimator alone, on proposals, optionally with distillation.

    With ``interference`` and the other people in the batch it learns a joint-candidate SPPE.

    Differs: ``distill``, the weight of the loss against the teacher's heatmaps. Each joint is
        weighted by the teacher's confidence. ``hint``, the weight of the loss against its features.
    """
    heatmaps: list[Tensor]
    parts: Parts = {}
    if batch.hints is None:
        heatmaps = net(batch.images)
    else:
        heatmaps, answers = net(batch.images, batch.hints)
        parts["hints"] = hint * hint_loss(answers, batch.hints)
    loss = _pose_loss(heatmaps, batch.keypoints, batch.visible, batch, sigma, interference)
    parts["pose"] = loss
    if batch.teacher is not None:
        targets = batch.teacher((heatmaps[-1].shape[2], heatmaps[-1].shape[3]), sigma)
        weights = targets.amax(dim=(2, 3)).clamp(max=1)
        parts["teacher"] = distill * heatmap_loss(
            heatmaps, targets, weights, sigma, weight_sum(weights)
        )
    return parts


def sstn_objective(
    net: nn.Module, parallel: ParallelSppe | None, batch: Batch, sigma: float, config: SstnConfig
) -> Parts:
    """Stage 2: SSTN and pose estimator together; the parallel SPPE and true theta train the STN.

    Source: RMPE, section 3.1: the loss of the main branch is computed after the SDTN, the loss of
        the parallel branch before it, in the crop of the undisturbed true box.
    Differs: the loss ``theta``; and if the batch has a source, the STN samples from it directly.
    """
    output = net(batch.images, batch.source)
    parts = {"pose": _pose_loss(output.heatmaps, batch.keypoints, batch.visible, batch, sigma)}
    if parallel is not None and config.parallel:
        heatmaps = parallel(output.centred_images)
        loss = _pose_loss(heatmaps, batch.centred_keypoints, batch.centred_visible, batch, sigma)
        parts["parallel"] = config.parallel * loss
    if config.theta:
        parts["theta"] = config.theta * _theta_loss(output.theta, batch)
    return parts


def stn_objective(net: nn.Module, batch: Batch) -> Parts:
    """A localisation net alone, trained on the true transform; cheap, as it needs no SPPE.

    Differs: not in the paper.
    """
    return {"theta": _theta_loss(net(batch.images), batch)}


def _theta_loss(theta: Tensor, batch: Batch) -> Tensor:
    """This process's share of the mean over the whole batch."""
    return theta_loss(theta, batch.theta) * batch_share(theta)


def _pose_loss(
    heatmaps: list[Tensor],
    keypoints: Tensor,
    visible: Tensor,
    batch: Batch,
    sigma: float,
    interference: float = 0.0,
) -> Tensor:
    height, width = batch.images.shape[2:]
    cells = (heatmaps[-1].shape[2], heatmaps[-1].shape[3])
    targets = gaussian_targets(keypoints, (height, width), cells, sigma)
    if batch.others is not None:
        targets, weights, counted = joint_candidate_targets(
            targets, visible, batch.others, interference, (height, width), sigma
        )
        return heatmap_loss(heatmaps, targets, weights, sigma, weight_sum(weights), counted)
    return heatmap_loss(heatmaps, targets, visible, sigma, weight_sum(visible))
