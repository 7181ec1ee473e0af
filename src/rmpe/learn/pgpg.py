"""Learn PGPG: atomic poses, offset mixtures and their numbers (RMPE, section 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GroupKFold

from rmpe.errors import DataError
from rmpe.learn.detector_errors import Matches
from rmpe.propose.offsets import Offsets
from rmpe.propose.pgpg import Pgpg, align, log_densities

# Smallest standard deviation of a component, as a fraction of a side. Where person and detection
# both end at the image border, the offset is exactly 0, and without this floor a component would
# collapse onto those people.
NARROWEST = 0.005
# A component has 15 free parameters, so it needs at least this many people.
PEOPLE_A_PART = 20
# Strength of the Dirichlet prior on a kind's weights, in people, when components are shared.
PRIOR_PEOPLE = 20
KPOD_ROUNDS = 20
WEIGHT_ROUNDS = 50


@dataclass(frozen=True, order=True)
class Sizes:
    """Numbers of atoms and components of a PGPG.

    Attributes:
        atoms: Number of atomic poses.
        parts: Number of Gaussian components: in total if shared, else per kind of pose.
        shared: Whether the kinds of pose share components and differ only in their weights.
    """

    atoms: int
    parts: int
    shared: bool


SIZES = (
    *(Sizes(atoms, parts, True) for atoms in (1, 2, 4, 8, 16, 32) for parts in (4, 8, 12, 16, 24)),
    *(Sizes(atoms, parts, False) for atoms in (1, 2, 4, 8, 16) for parts in (1, 2, 4, 8)),
)


@dataclass(frozen=True)
class Candidate:
    """The held-out log-likelihood of a PGPG of the given sizes.

    Attributes:
        sizes: The sizes.
        log_likelihood: Held-out log-likelihood per person (nats).
        gain: Mean difference per person to the best candidate with one atom.
        gain_error: Standard error of ``gain``.
    """

    sizes: Sizes
    log_likelihood: float
    gain: float
    gain_error: float


def learn_pgpg(matches: Matches, sizes: Sizes, iou: float, seed: int = 0) -> Pgpg:
    """Fit atoms and mixtures to matched detections.

    Args:
        matches: People and their detections, all with an IoU of at least ``iou``.
        sizes: Numbers of atoms and components; see `choose_sizes`.
        iou: IoU threshold of the matches, which the sampler also uses.
        seed: Seed of k-means and of the mixtures' initialisation.

    Raises:
        DataError: If there are too few people with a usable torso.
    """
    centers = atomic_poses(
        align(matches.keypoints, matches.visible, matches.joints), sizes.atoms, seed
    )
    return _fit_offsets(matches, centers, sizes, iou, seed)


def choose_sizes(
    matches: Matches, sizes: Sequence[Sizes] = SIZES, folds: int = 5, seed: int = 0
) -> list[Candidate]:
    """Held-out log-likelihood of all ``sizes`` by cross-validation over images, best first.

    Atoms are also learned on the training folds, so held-out people have no influence.

    Raises:
        DataError: If there are fewer images than folds, or too few people with a usable torso.
    """
    if (images := len(np.unique(matches.image_ids))) < folds:
        raise DataError(
            f"PGPG: {images} images with matched detections are too few"
            f" to choose sizes on {folds} folds"
        )
    held_out = {size: np.zeros(len(matches)) for size in sizes}
    for train, test in GroupKFold(folds).split(matches.offsets, groups=matches.image_ids):
        fold = matches[train]
        rest = matches[test]
        aligned = align(fold.keypoints, fold.visible, fold.joints)
        centers = {
            count: atomic_poses(aligned, count, seed) for count in {size.atoms for size in sizes}
        }
        for size in sizes:
            pgpg = _fit_offsets(fold, centers[size.atoms], size, 0, seed)
            kinds = pgpg.atoms_of(rest.keypoints, rest.visible)
            held_out[size][test] = pgpg.log_likelihood(rest.offsets, kinds)
    ranked = sorted(held_out, key=lambda size: -held_out[size].mean())
    reference = held_out[next((size for size in ranked if size.atoms == 1), ranked[0])]
    return [_candidate(size, held_out[size], reference) for size in ranked]


def _candidate(
    sizes: Sizes, values: NDArray[np.float64], reference: NDArray[np.float64]
) -> Candidate:
    gain = values - reference
    return Candidate(
        sizes, float(values.mean()), float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))
    )


def atomic_poses(aligned: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    """K-means centres ``(count, K, 2)`` of aligned poses ``(N, K, 2)`` with missing joints (NaN).

    k-POD fills missing values from the person's current centre and runs k-means, until no person
    changes cluster.

    Raises:
        DataError: If there are fewer people with a usable torso than atoms.

    Source: Chi, Chi and Baraniuk, "k-POD: A Method for k-Means Clustering of Missing Data", 2016.
    """
    poses = aligned[np.isfinite(aligned).any(axis=(1, 2))]
    if len(poses) < max(count, 2):
        raise DataError(
            f"PGPG: {len(poses)} people with a visible torso are too few for {count} atoms"
        )
    flat = poses.reshape(len(poses), -1)
    seen = np.isfinite(flat)
    never = ~seen.any(axis=0)
    guess = np.where(seen, flat, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    filled = np.where(seen, flat, guess)
    model = KMeans(count, n_init=10, random_state=seed).fit(filled)
    for _ in range(KPOD_ROUNDS):
        labels = model.labels_
        filled = np.where(seen, flat, model.cluster_centers_[labels])
        model = KMeans(count, init=model.cluster_centers_, n_init=1).fit(filled)
        if np.array_equal(model.labels_, labels):
            break
    centers: NDArray[np.float64] = np.where(never, np.nan, model.cluster_centers_).reshape(
        count, -1, 2
    )
    return centers


def _fit_offsets(
    matches: Matches, centers: NDArray[np.float64], sizes: Sizes, iou: float, seed: int
) -> Pgpg:
    kinds = len(centers) + 1
    unfitted = Pgpg(
        matches.joints, centers, np.ones((kinds, 1)), np.zeros((1, 4)), np.eye(4)[None], iou
    )
    kind_of = unfitted.atoms_of(matches.keypoints, matches.visible)
    fit = _shared_parts if sizes.shared else _own_parts
    weights, means, covariances = fit(matches.offsets, kind_of, kinds, sizes.parts, seed)
    return Pgpg(matches.joints, centers, weights, means, covariances, iou)


Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _shared_parts(
    offsets: Offsets, kind_of: NDArray[np.int64], kinds: int, parts: int, seed: int
) -> Parts:
    """One mixture for all people, then the weights of each kind by EM with a Dirichlet prior."""
    everybody, means, covariances = _mixture(offsets, parts, seed)
    density = np.exp(log_densities(offsets, means, covariances))
    weights = np.tile(everybody, (kinds, 1))
    for _ in range(WEIGHT_ROUNDS):
        belongs = density * weights[kind_of]
        belongs /= belongs.sum(axis=1, keepdims=True)
        counts = (
            np.stack([belongs[kind_of == kind].sum(axis=0) for kind in range(kinds)])
            + PRIOR_PEOPLE * everybody
        )
        weights = counts / counts.sum(axis=1, keepdims=True)
    return weights, means, covariances


def _own_parts(
    offsets: Offsets, kind_of: NDArray[np.int64], kinds: int, parts: int, seed: int
) -> Parts:
    """One mixture per kind, as in the paper; kinds with too few people use the mixture of all."""
    members = [offsets[kind_of == kind] for kind in range(kinds)]
    mixtures = [
        _mixture(own if len(own) >= PEOPLE_A_PART else offsets, parts, seed) for own in members
    ]
    used = [len(weights) for weights, _, _ in mixtures]
    weights = np.zeros((kinds, sum(used)))
    for kind, (end, count) in enumerate(zip(np.cumsum(used), used, strict=True)):
        weights[kind, end - count : end] = mixtures[kind][0]
    means = np.concatenate([means for _, means, _ in mixtures])
    return weights, means, np.concatenate([covariances for _, _, covariances in mixtures])


def _mixture(offsets: Offsets, parts: int, seed: int) -> Parts:
    """Fit a Gaussian mixture of at most ``parts`` components.

    Returns:
        Weights ``(M,)``, means ``(M, 4)`` and covariances ``(M, 4, 4)``.
    """
    used = int(np.clip(len(offsets) // PEOPLE_A_PART, 1, parts))
    model = GaussianMixture(used, reg_covar=NARROWEST**2, random_state=seed, max_iter=300).fit(
        offsets
    )
    return model.weights_, model.means_, model.covariances_
