"""Pose-guided proposals generator, PGPG (paper section 3.3).

A detector errs differently on a runner than on somebody who sits. PGPG learns the distribution of
its errors given the kind of pose, P(offset | atom(pose)), and draws proposals from it, so that the
pose model is trained on boxes like the ones it will be given. The kinds, *atoms*, are the centres
of k-means over poses with torsos of equal length; the offsets of each atom follow a Gaussian
mixture. `rmpe.learn.pgpg` learns it.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.errors import DataError
from rmpe.propose.offsets import Offsets, draw_overlapping

SHOULDERS = ("left_shoulder", "right_shoulder")
HIPS = ("left_hip", "right_hip")
# A torso shorter than this share of the pose's extent points at the camera and says nothing about
# scale.
SHORTEST_TORSO = 0.15


@dataclass(frozen=True, eq=False)
class Pgpg:
    """A learnt distribution of proposal offsets given the kind of pose.

    The last of the ``A + 1`` kinds is for people whose torso cannot be seen (less than a shoulder
    and a hip, or foreshortened): they cannot be aligned.

    Attributes:
        joints: Names of the K joints.
        centers: Atomic poses ``(A, K, 2)``, hips' middle at (0, 0), torso of length 1; NaN where a
            joint is unknown.
        weights: ``(A + 1, M)``, what each Gaussian part weighs for each kind; rows sum to 1.
        means: ``(M, 4)``, offsets of the left, top, right, bottom edge as shares of the true box's
            sides.
        covariances: ``(M, 4, 4)``.
        iou: Proposals below this IoU with the true box are not drawn; the one that detections were
            matched with.
        learned: What it was learnt from, for readers.

    Source:
        Section 3.3.

    Differs:
        The parts may be shared between kinds, each with weights of its own; a mixture per atom is
        the special case where no part has weight for two kinds. The paper does not say what to do
        with missing joints: distances to atoms are means over the visible ones.
    """

    joints: tuple[str, ...]
    centers: NDArray[np.float64]
    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]
    iou: float
    learned: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds, parts = self.weights.shape
        expected = {
            "centers": (kinds - 1, len(self.joints), 2),
            "means": (parts, 4),
            "covariances": (parts, 4, 4),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}, got {getattr(self, name).shape}")
        if not (np.all(self.weights >= 0) and np.allclose(self.weights.sum(axis=1), 1, atol=1e-3)):
            raise ValueError("the weights of each kind of pose must be positive and sum to 1")

    @cached_property
    def cholesky(self) -> NDArray[np.float64]:
        """Lower triangular square roots of the covariances ``(M, 4, 4)``."""
        return np.asarray(np.linalg.cholesky(self.covariances), np.float64)

    def atoms_of(self, keypoints: ArrayLike, visible: ArrayLike) -> NDArray[np.int64]:
        """The atom nearest to each person.

        Args:
            keypoints: ``(N, K, 2)``, any frame without rotation.
            visible: ``(N, K)``, true where a joint is labelled; others count for nothing.

        Returns:
            ``(N,)``, 0 to A - 1, and A for people without a torso.
        """
        aligned = align(keypoints, visible, self.joints)
        squared = ((aligned[:, None] - self.centers[None]) ** 2).sum(axis=-1)
        known = np.isfinite(squared)
        with np.errstate(invalid="ignore"):  # 0 / 0 for people without a torso
            distance = np.where(known, squared, 0).sum(axis=2) / known.sum(axis=2)
        nearest = np.argmin(distance, axis=1)
        return np.where(np.isfinite(distance).all(axis=1), nearest, len(self.centers))

    def sample(
        self, atoms: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> Offsets:
        """Draw ``count`` offsets ``(N, count, 4)`` for people of kinds ``atoms`` ``(N,)``; none below ``iou``."""
        cumulative = np.cumsum(self.weights, axis=1)
        cumulative[:, -1] = 1

        def draw(atoms: NDArray[np.int64]) -> Offsets:
            part = (generator.random((len(atoms), 1)) >= cumulative[atoms]).sum(axis=1)
            noise = generator.standard_normal((len(atoms), 4, 1))
            offsets: Offsets = self.means[part] + (self.cholesky[part] @ noise)[..., 0]
            return offsets

        return draw_overlapping(draw, np.repeat(atoms, count), self.iou).reshape(
            len(atoms), count, 4
        )

    def log_likelihood(self, offsets: Offsets, atoms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log density ``(N,)`` of offsets ``(N, 4)`` given ``atoms`` ``(N,)``, of the mixture without the IoU cut."""
        with np.errstate(divide="ignore"):  # a weight may be 0
            weights = np.log(self.weights)[atoms]
        densities = log_densities(offsets, self.means, self.covariances)
        result: NDArray[np.float64] = np.logaddexp.reduce(weights + densities, axis=1)
        return result

    def to_joints(self, names: Sequence[str]) -> "Pgpg":
        """The same distribution for poses with other joints; joints of the same name carry over."""
        source = [self.joints.index(name) if name in self.joints else -1 for name in names]
        centers = np.concatenate(
            [self.centers, np.full((len(self.centers), 1, 2), np.nan)], axis=1
        )[:, source]
        return Pgpg(
            tuple(names),
            centers,
            self.weights,
            self.means,
            self.covariances,
            self.iou,
            self.learned,
        )

    def save(self, path: Path) -> None:
        """Write a small TOML file that people can read."""
        lines = [
            "# PGPG: offsets of proposals given the kind of pose (RMPE section 3.3); written by `rmpe learn pgpg`."
        ]
        lines += [f"joints = {json.dumps(self.joints)}", f"iou = {self.iou}", "", "[learned]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in self.learned.items()]
        for mean, covariance in zip(self.means, self.covariances, strict=True):
            lines += [
                "",
                "[[parts]]",
                f"mean = {_numbers(mean, 5)}",
                f"covariance = {_numbers(covariance, 7)}",
            ]
        for center, weights in zip(self.centers, self.weights[:-1], strict=True):
            lines += [
                "",
                "[[atoms]]",
                f"pose = {_numbers(center, 3)}",
                f"weights = {_numbers(weights, 5)}",
            ]
        lines += ["", "[no_torso]", f"weights = {_numbers(self.weights[-1], 5)}"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Pgpg":
        """Read what `save` wrote.

        Raises:
            DataError: If the file cannot be read or is not a PGPG file.
        """
        try:
            data = tomllib.loads(path.read_text("utf-8"))
            joints = tuple(data["joints"])
            atoms = data["atoms"]
            weights = np.array([kind["weights"] for kind in (*atoms, data["no_torso"])], np.float64)
            pgpg = cls(
                joints,
                np.array([atom["pose"] for atom in atoms], np.float64).reshape(-1, len(joints), 2),
                weights / weights.sum(axis=1, keepdims=True),
                np.array([part["mean"] for part in data["parts"]], np.float64),
                np.array([part["covariance"] for part in data["parts"]], np.float64),
                float(data["iou"]),
                data["learned"],
            )
            _ = pgpg.cholesky  # refuses covariances that are none
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot read the PGPG file: {error}") from error
        except (
            tomllib.TOMLDecodeError,
            KeyError,
            TypeError,
            ValueError,
            np.linalg.LinAlgError,
        ) as error:
            raise DataError(
                f"{path}: not a PGPG file as `rmpe learn pgpg` writes it: {error!r}"
            ) from error
        return pgpg


def align(keypoints: ArrayLike, visible: ArrayLike, joints: Sequence[str]) -> NDArray[np.float64]:
    """Move poses so that the middle of the hips is (0, 0) and all torsos have length 1; not
    rotated.

    Args:
        keypoints: ``(N, K, 2)``, any frame without rotation.
        visible: ``(N, K)``.
        joints: Names of the K joints; one visible shoulder and one visible hip are enough for a
            torso.

    Returns:
        ``(N, K, 2)``; NaN where a joint is not visible, and for the whole person where there is no
        torso.

    Raises:
        DataError: If the joints hold no shoulders or no hips.
    """
    if missing := {*SHOULDERS, *HIPS} - set(joints):
        raise DataError(
            f"PGPG aligns torsos: the skeleton needs a joint called {sorted(missing)[0]!r}"
        )
    seen = np.asarray(visible, bool)
    points = np.where(seen[..., None], np.asarray(keypoints, np.float64), np.nan)
    neck, hips = (
        _middle(points[:, [joints.index(name) for name in pair]]) for pair in (SHOULDERS, HIPS)
    )
    torso = np.linalg.norm(neck - hips, axis=1)
    low = np.where(seen[..., None], points, np.inf)
    high = np.where(seen[..., None], points, -np.inf)
    extent = (high.max(axis=1) - low.min(axis=1)).max(axis=1)
    torso[~(torso >= SHORTEST_TORSO * extent) | (torso == 0)] = np.nan
    aligned: NDArray[np.float64] = (points - hips[:, None]) / torso[:, None, None]
    return aligned


def log_densities(
    offsets: Offsets, means: NDArray[np.float64], covariances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log density ``(N, M)`` of offsets ``(N, 4)`` under each Gaussian, ``(M, 4)`` and ``(M, 4, 4)``."""
    whitening = np.linalg.inv(np.linalg.cholesky(covariances))
    white = (whitening @ (offsets[:, None] - means)[..., None])[..., 0]
    scale = np.log(np.diagonal(whitening, axis1=-2, axis2=-1)).sum(axis=-1) - 2 * np.log(2 * np.pi)
    result: NDArray[np.float64] = scale - (white**2).sum(axis=-1) / 2
    return result


def _middle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of those of the points ``(N, P, 2)`` that are not NaN; NaN where all are."""
    known = np.isfinite(points)
    with np.errstate(invalid="ignore"):
        result: NDArray[np.float64] = np.where(known, points, 0).sum(axis=1) / known.sum(axis=1)
    return result


def _numbers(values: NDArray[np.float64], digits: int) -> str:
    """A TOML array; JSON's notation is a part of TOML's, except for NaN."""
    return json.dumps(np.round(values, digits).tolist()).replace("NaN", "nan")
