"""Paired bootstrap intervals over images, for the comparison of two results files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Maps weights (how often each image is drawn) to the figure of that sample.
Figure = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True)
class Comparison:
    """Two figures on the same images and their difference.

    Attributes:
        first: Figure of the first file.
        second: Figure of the second file.
        difference: ``first - second``.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        share_better: Share of samples in which the first is better; ties count half.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    share_better: float


def mean_figure(figures: Sequence[Figure]) -> Figure:
    """The mean of several figures under every draw, e.g. of one net trained with several seeds."""
    return lambda weights: float(np.mean([figure(weights) for figure in figures]))


def compare(
    first: Figure, second: Figure, images: int, samples: int = 1000, seed: int = 0
) -> Comparison:
    """Compare two figures by resampling images with replacement, with the same sample for both.

    Args:
        first: Figure of the first file, from weights ``(images,)``.
        second: Figure of the second file.
        images: Number of images.
        samples: Number of bootstrap samples.
        seed: Seed of the sampling.

    Returns:
        The figures on all images, and the 2.5th and 97.5th percentiles of their difference.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile
    interval).
    """
    generator = np.random.default_rng(seed)
    differences = np.empty(samples)
    for index in range(samples):
        weights = np.bincount(generator.integers(0, images, images), minlength=images).astype(
            np.float64
        )
        differences[index] = first(weights) - second(weights)
    low, high = np.percentile(differences, [2.5, 97.5])
    every = np.ones(images)
    one = first(every)
    other = second(every)
    better = float(np.mean(differences > 0) + np.mean(differences == 0) / 2)
    return Comparison(one, other, one - other, float(low), float(high), better)
