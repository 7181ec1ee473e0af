"""Pictures as a poor camera takes them: less contrast, no colours, blurred, noisy."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rmpe.training.pose.distill import blur_matrices

if TYPE_CHECKING:
    from rmpe.training.pose.augment import AugmentConfig

# Largest standard deviations: of the blur as a share of the crop's height, of the noise in
# normalised units.
LARGEST_BLUR, LARGEST_NOISE = 0.007, 0.2


def spoil(
    config: "AugmentConfig", count: int, generator: np.random.Generator, share: slice
) -> Callable[[Tensor], Tensor]:
    """What happens to the normalised images of the rows ``share`` of a batch of ``count`` people.

    Nothing is drawn for what the configuration leaves out.
    """
    contrast = (
        generator.uniform(1 - config.contrast, 1 + config.contrast, count)[share]
        if config.contrast
        else None
    )
    grey = np.zeros(0, np.int64)
    if config.grey:
        grey = np.flatnonzero((generator.random(count) < config.grey)[share])
    blurred, noisy = [], []
    if config.blur:
        chosen = generator.random(count) < config.blur
        amounts = LARGEST_BLUR * generator.random(count)
        blurred = [(row, amount) for row, amount in enumerate(amounts[share]) if chosen[share][row]]
    if config.noise:
        chosen = generator.random(count) < config.noise
        amounts = LARGEST_NOISE * generator.random(count)
        seeds = generator.integers(2**62, size=count)[share]
        noisy = [
            (row, amount, seeds[row])
            for row, amount in enumerate(amounts[share])
            if chosen[share][row]
        ]

    def spoiled(images: Tensor) -> Tensor:
        if contrast is not None:
            middle = images.mean(dim=(1, 2, 3), keepdim=True)
            images = middle + (images - middle) * images.new_tensor(contrast)[:, None, None, None]
        if len(grey):
            images[grey] = images[grey].mean(dim=1, keepdim=True)
        if blurred:
            rows, height = [row for row, _ in blurred], images.shape[2]
            variance = images.new_tensor([(amount * height) ** 2 + 0.01 for _, amount in blurred])
            down, across = (blur_matrices(side, variance) for side in images.shape[2:])
            images[rows] = down @ images[rows] @ across
        for row, amount, seed in noisy:
            noise = torch.randn(
                images.shape[1:], generator=torch.Generator().manual_seed(int(seed))
            )
            images[row] += amount * noise.to(images.device)
        return images.contiguous(memory_format=torch.channels_last)

    return spoiled
