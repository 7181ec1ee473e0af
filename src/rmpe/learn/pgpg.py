"""Learning PGPG: atomic poses, mixtures of offsets, and how many of each (paper section 3.3)."""

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

# No mixture part is narrower than half a per cent of a side: where the person and the detection
# both end at the image's border the offset is exactly 0, and a part without this floor would
# collapse on those people.
NARROWEST = 0.005
# A mixture of a kind's own has at most one part for so many people: a part has 15 free numbers.
PEOPLE_A_PART = 20
# Where parts are shared, the weights of a kind start from everybody's as if so many people had been
# seen before.
PRIOR_PEOPLE = 20
KPOD_ROUNDS = 20
WEIGHT_ROUNDS = 50


@dataclass(frozen=True, order=True)
class Sizes:
    """How large a PGPG is.

    Attributes:
        atoms: Number of atomic poses.
        parts: Number of Gaussian parts, of all kinds together if shared, else of each kind.
        shared: Whether the kinds of pose share their parts and differ only in the weights.
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
    """Sizes, and how well a PGPG of these sizes explains people it was not learnt from.

    Attributes:
        sizes: The sizes.
        log_likelihood: Held-out log-likelihood a person (nats).
        gain: Its mean difference a person to the best candidate with one atom.
        gain_error: Standard error of ``gain``.
    """

    sizes: Sizes
    log_likelihood: float
    gain: float
    gain_error: float


def learn_pgpg(matches: Matches, sizes: Sizes, iou: float, seed: int = 0) -> Pgpg:
    """Fit atoms and mixtures to matched detections.

    Args:
        matches: People and their detections, all at least ``iou``.
        sizes: Number of atoms and parts; `choose_sizes` finds good ones.
        iou: What the matches were cut at; the sampler keeps to it.
        seed: Of k-means and of the mixtures' starts.

    Raises:
        DataError: If there are too few people with a torso.
    """
    centers = atomic_poses(
        align(matches.keypoints, matches.visible, matches.joints), sizes.atoms, seed
    )
    return _fit_offsets(matches, centers, sizes, iou, seed)


def choose_sizes(
    matches: Matches, sizes: Sequence[Sizes] = SIZES, folds: int = 5, seed: int = 0
) -> list[Candidate]:
    """Held-out log-likelihood of every choice of sizes, by cross-validation over images, best
    first.

    Atoms are learnt on the training folds too, so nothing of a held-out person enters.

    Raises:
        DataError: If there are fewer images than folds, or too few people with a torso.
    """
    if (images := len(np.unique(matches.image_ids))) < folds:
        raise DataError(
            f"PGPG: {images} images with matched detections are too few to choose sizes on {folds} folds"
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
    """Centres ``(count, K, 2)`` of k-means over aligned poses ``(N, K, 2)`` with missing joints
    (NaN).

    k-POD (Chi, Chi and Baraniuk, "k-POD: A Method for k-Means Clustering of Missing Data", 2016):
    fill what is missing from the person's own centre, run k-means, repeat until nobody changes
    sides.

    Raises:
        DataError: If there are fewer people with a torso than atoms.
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
    """One mixture of everybody, then each kind's weights by expectation maximisation under a Dirichlet prior."""
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
    """A mixture for each kind, as in the paper; a kind with too few people for one gets everybody's."""
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
    """Weights ``(M,)``, means ``(M, 4)`` and covariances ``(M, 4, 4)`` of a Gaussian mixture of at most ``parts``."""
    used = int(np.clip(len(offsets) // PEOPLE_A_PART, 1, parts))
    model = GaussianMixture(used, reg_covar=NARROWEST**2, random_state=seed, max_iter=300).fit(
        offsets
    )
    return model.weights_, model.means_, model.covariances_
