"""Hints: a net learns a teacher's features beside its answers, at first each part on its own.

A deep net that starts from nothing learns its early layers through all later ones. With hints, each
part (stem, stage, head) is given the teacher's features where that part begins and learns those
where it ends: short problems that do not wait for each other. Then the parts are joined, and each
learns to mend what the parts before it get wrong, still by the hints near it (`HintsConfig.span`);
at last they go on together.

Source: Romero et al., "FitNets: hints for thin deep nets", ICLR 2015; learning the parts apart is
from Li et al., "Block-wisely supervised neural architecture search with knowledge distillation",
CVPR 2020; cutting the loss between parts from Nokland and Eidnes, "Training neural networks with
local error signals", ICML 2019. Not in the RMPE paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rmpe.errors import ModelError
from rmpe.nets.high_resolution import HighResolutionSppe
from rmpe.training.optim import batch_share

Features = list[Tensor]  # of each resolution, finest first

# Of the mean variance of a resolution's channels: channels that hardly vary are not blown up.
FLOOR = 0.02


@dataclass(frozen=True)
class HintsConfig:
    """Stage 1 with ``data.teacher``: which of its features are learned.

    Attributes:
        tensors: Names of the teacher's tensors, before their ReLU, one list for the stem and each
            stage of a ``high_resolution`` net, finest resolution first. Empty = no hints. Without
            ``apart`` and ``span`` a part may have an empty list.
        weight: Weight of the hints in the loss.
        apart: Whether each part sees the teacher's features, so that it learns by itself; else the
            net runs as it is.
        span: How many parts the loss flows back through; each span learns from its own hints, and
            the head alone from the heatmaps. 0 = all of them. Not with ``apart``.
        people: How many the spread of the teacher's features is taken from.
    """

    tensors: tuple[tuple[str, ...], ...] = ()
    weight: float = 1.0
    apart: bool = False
    span: int = 0
    people: int = 128

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"hints.weight = {self.weight} must be above 0")
        if self.people < 1:
            raise ValueError(f"hints.people = {self.people} must be at least 1")
        if self.span < 0 or (self.span and self.apart):
            raise ValueError(
                f"hints.span = {self.span} must not be negative, and 0 with hints.apart"
            )
        if (self.apart or self.span) and not (self.tensors and all(self.tensors)):
            raise ValueError(
                "hints.apart and hints.span need hints.tensors for the stem and every stage"
            )


class Scale:
    """Scales a teacher's features to a standard deviation of about 1 in each channel.

    Args:
        features: Of some people, one list for each part of the net, each ``(B, C, h, w)``.
    """

    def __init__(self, features: Sequence[Features]) -> None:
        self.parts = [[self._of(one) for one in part] for part in features]

    @staticmethod
    def _of(features: Tensor) -> Tensor:
        variance = features.var(dim=(0, 2, 3), keepdim=True)
        return (variance + FLOOR * variance.mean() + 1e-12).rsqrt()

    def __call__(self, features: Sequence[Features]) -> list[Features]:
        """The same shapes."""
        return [
            [one * scale for one, scale in zip(part, scales, strict=True)]
            for part, scales in zip(features, self.parts, strict=True)
        ]


class Hinted(nn.Module):
    """A net with what its parts answer, for `hint_loss`.

    Args:
        net: The net.
        apart: See `HintsConfig`.
        span: See `HintsConfig`.
    """

    def __init__(self, net: HighResolutionSppe, apart: bool, span: int = 0) -> None:
        super().__init__()
        self.net, self.apart, self.span = net, apart, span

    def forward(self, images: Tensor, hints: list[Features]) -> tuple[list[Tensor], list[Features]]:
        """Heatmaps as those of the net, and the features of the stem and each stage."""
        answers = [self.net.stem(images)]
        for place, stage in enumerate(self.net.stages):
            cut = self.span > 0 and (place + 1) % self.span == 0
            answers.append(stage(self._begin(answers[-1], hints[place], cut)))
        return [self.net.head(self._begin(answers[-1], hints[-1], self.span > 0))], answers

    def _begin(self, answer: Features, hint: Features, cut: bool) -> Features:
        """What the next part sees: what the part before answered, or the teacher."""
        if self.apart:
            return hint
        return [one.detach() for one in answer] if cut else answer


def hint_loss(answers: list[Features], hints: list[Features]) -> Tensor:
    """This process's share of the mean squared error over parts, resolutions and the whole batch.

    1 means that only each channel's mean was learned.
    """
    errors = [
        (answer.float() - hint).square().mean()
        for answered, hinted in zip(answers, hints, strict=True)
        if hinted
        for answer, hint in zip(answered, hinted, strict=True)
    ]
    return torch.stack(errors).mean() * batch_share(answers[0][0])


def hinted(net: nn.Module, features: list[Features], images: Tensor, config: HintsConfig) -> Hinted:
    """The net inside `Hinted`, once it is known that the hints fit it.

    With ``config.apart`` the last layers' biases become the means of what they are to learn.

    Args:
        net: The net.
        features: The teacher's, of some people.
        images: Their crops.
        config: How they are learned.

    Raises:
        ModelError: If the net cannot be hinted or has no part or resolution for a hint.
    """
    if not isinstance(net, HighResolutionSppe):
        raise ModelError("hints need model = { name = 'high_resolution' }")
    if len(features) != 1 + len(net.stages):
        raise ModelError(
            f"hints.tensors has {len(features)} lists; the net has a stem and {len(net.stages)}"
            " stages"
        )
    with torch.no_grad():
        _, answers = Hinted(net.eval(), apart=False)(images[:1], features)
    for place, (answered, hint) in enumerate(zip(answers, features, strict=True)):
        shapes, wanted = ([tuple(one.shape[1:]) for one in part] for part in (answered, hint))
        if hint and shapes != wanted:
            raise ModelError(
                f"hints.tensors, list {place + 1}: the teacher's are {wanted}, the net's {shapes}"
            )
    if config.apart:
        for biases, hint in zip(net.last_biases(), features, strict=True):
            for bias, one in zip(biases, hint, strict=True):
                with torch.no_grad():
                    bias.copy_(one.mean(dim=(0, 2, 3)))
    return Hinted(net, config.apart, config.span)
