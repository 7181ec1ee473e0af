"""Pose-guided proposals generator, PGPG (RMPE, section 3.3).

Detector errors depend on the pose: a runner gets different boxes from a seated person. PGPG models
the error distribution given the atomic pose, P(offset | atom(pose)), and samples proposals from it,
so the pose model trains on the boxes it will see at test time. Atoms are k-means centres of poses
with torsos of equal length; the offsets of each atom follow a Gaussian mixture. `rmpe.learn.pgpg`
learns the model.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe import fields
from rmpe.atomic import write_text
from rmpe.errors import DataError
from rmpe.files import read_toml
from rmpe.propose.offsets import Offsets, draw_overlapping

SHOULDERS = ("left_shoulder", "right_shoulder")
HIPS = ("left_hip", "right_hip")
# A torso shorter than this fraction of the pose's extent is foreshortened and does not give the
# scale.
SHORTEST_TORSO = 0.15


@dataclass(frozen=True, eq=False)
class Pgpg:
    """A learned distribution of proposal offsets given the atomic pose.

    The last of the ``A + 1`` kinds is for people without a usable torso (no visible shoulder or
    hip, or foreshortened), whose poses cannot be aligned.

    Attributes:
        joints: Names of the K joints.
        centers: Atomic poses ``(A, K, 2)``, mid-hip at (0, 0), torso of length 1; NaN where a joint
            is unknown.
        weights: ``(A + 1, M)``, weight of each Gaussian component for each kind; rows sum to 1.
        means: ``(M, 4)``, offsets of the left, top, right and bottom edge as fractions of the true
            box's sides.
        covariances: ``(M, 4, 4)``.
        iou: Smallest IoU of a proposal with the true box, as in the matching of detections.
        learned: A description of the training data, for readers.

    Source:
        RMPE, section 3.3.

    Differs:
        Kinds may share components, each with its own weights; one mixture per atom, as in the
        paper, is the special case in which no component has weight for two kinds. The paper does
        not treat missing joints; here distances to atoms are means over the visible joints.
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
        """The nearest atom of each person.

        Args:
            keypoints: ``(N, K, 2)``, in any frame without rotation.
            visible: ``(N, K)``, true where a joint is labelled; other joints are ignored.

        Returns:
            ``(N,)``, 0 to A - 1, or A for people without a usable torso.
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
        """Draw ``count`` offsets per person, none with an IoU below ``iou``; see `BoxPolicy`."""
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
        """Log density ``(N,)`` of offsets ``(N, 4)`` given ``atoms`` ``(N,)``.

        This is the density of the mixture, without the IoU threshold.
        """
        with np.errstate(divide="ignore"):  # a weight may be 0
            weights = np.log(self.weights)[atoms]
        densities = log_densities(offsets, self.means, self.covariances)
        result: NDArray[np.float64] = np.logaddexp.reduce(weights + densities, axis=1)
        return result

    def to_joints(self, names: Sequence[str]) -> "Pgpg":
        """The same distribution for another set of joints; joints of the same name carry over."""
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
        """Write a small, readable TOML file.

        Raises:
            OutputError: If it cannot be written.
        """
        lines = [
            "# PGPG: offsets of proposals given the atomic pose (RMPE, section 3.3);"
            " written by `rmpe learn pgpg`."
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
        write_text(path, "\n".join(lines) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Pgpg":
        """Read what `save` wrote.

        Raises:
            DataError: If the file cannot be read or is not a valid PGPG file.
        """
        source = str(path)
        data = read_toml(path)
        if missing := {"joints", "iou", "parts", "atoms", "no_torso"} - set(data):
            raise DataError(f"{source}: not a PGPG file: it has no {sorted(missing)[0]!r}")
        joints = fields.texts(data["joints"], f"{source}: joints")
        if not joints or len(set(joints)) < len(joints):
            raise DataError(f"{source}: joints must be a list of different names")
        atoms = _tables(data["atoms"], f"{source}: atoms")
        parts = _tables(data["parts"], f"{source}: parts")
        kinds = [*atoms, fields.table(data["no_torso"], f"{source}: no_torso")]
        if not parts:
            raise DataError(f"{source}: not a PGPG file: it has no parts")
        iou = fields.number(data["iou"], f"{source}: iou")
        if not 0 <= iou < 1:
            raise DataError(f"{source}: iou is {iou:g}; it must lie in [0, 1)")
        weights = np.array(
            [
                fields.numbers(kind.get("weights"), f"{source}: weights", len(parts))
                for kind in kinds
            ]
        )
        means = [fields.pixels(part.get("mean"), f"{source}: mean", 4) for part in parts]
        spreads = [_matrix(part.get("covariance"), f"{source}: covariance") for part in parts]
        centers = [_pose(atom.get("pose"), len(joints), f"{source}: pose") for atom in atoms]
        if not ((weights >= 0).all() and (weights.sum(axis=1) > 0).all()):
            raise DataError(f"{source}: weights must be 0 or more, and not all 0")
        try:
            pgpg = cls(
                joints,
                np.array(centers, np.float64).reshape(-1, len(joints), 2),
                weights / weights.sum(axis=1, keepdims=True),
                np.array(means),
                np.array(spreads),
                iou,
                fields.table(data.get("learned", {}), f"{source}: learned"),
            )
            factors = pgpg.cholesky  # refuses covariances that are none
        except (ValueError, np.linalg.LinAlgError) as error:
            raise DataError(f"{source}: not a PGPG file: {error}") from error
        if not (np.isfinite(factors).all() and (np.abs(means) <= LARGEST_OFFSET).all()):
            raise DataError(f"{source}: means and covariances must be shares of a box's sides")
        return pgpg


# Offsets are shares of a box's sides; no detector errs by so many of them.
LARGEST_OFFSET = 100.0


def _tables(value: Any, place: str) -> list[dict[str, Any]]:
    return [
        fields.table(one, f"{place}, entry {index}")
        for index, one in enumerate(fields.items(value, place))
    ]


def _matrix(value: Any, place: str) -> NDArray[np.float64]:
    rows = fields.items(value, place)
    if len(rows) != 4:
        raise DataError(f"{place} must be 4 rows of 4 numbers, got {len(rows)} rows")
    return np.array([fields.pixels(row, place, 4) for row in rows])


def _pose(value: Any, joints: int, place: str) -> list[list[float]]:
    """Joints of an atom; ``nan`` where none of its people had one."""
    rows = fields.items(value, place)
    if len(rows) != joints:
        raise DataError(f"{place} must have {joints} joints, got {len(rows)}")
    points = []
    for row in rows:
        unknown = (
            isinstance(row, list)
            and len(row) == 2
            and all(isinstance(one, float) and isnan(one) for one in row)
        )
        points.append([np.nan, np.nan] if unknown else fields.pixels(row, place, 2).tolist())
    return points


def align(keypoints: ArrayLike, visible: ArrayLike, joints: Sequence[str]) -> NDArray[np.float64]:
    """Shift and scale poses so that the mid-hip is (0, 0) and all torsos have length 1.

    Poses are not rotated.

    Args:
        keypoints: ``(N, K, 2)``, in any frame without rotation.
        visible: ``(N, K)``.
        joints: Names of the K joints; a torso needs one visible shoulder and one visible hip.

    Returns:
        ``(N, K, 2)``; NaN where a joint is not visible, and for all joints of a person without a
        usable torso.

    Raises:
        DataError: If ``joints`` lacks shoulders or hips.
    """
    if missing := {*SHOULDERS, *HIPS} - set(joints):
        raise DataError(
            f"PGPG aligns torsos: the skeleton needs a joint named {sorted(missing)[0]!r}"
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
    """Log density ``(N, M)`` of offsets ``(N, 4)`` under each of M Gaussians."""
    whitening = np.linalg.inv(np.linalg.cholesky(covariances))
    white = (whitening @ (offsets[:, None] - means)[..., None])[..., 0]
    scale = np.log(np.diagonal(whitening, axis1=-2, axis2=-1)).sum(axis=-1) - 2 * np.log(2 * np.pi)
    result: NDArray[np.float64] = scale - (white**2).sum(axis=-1) / 2
    return result


def _middle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the points ``(N, P, 2)`` that are not NaN; NaN where all are NaN."""
    known = np.isfinite(points)
    with np.errstate(invalid="ignore"):
        result: NDArray[np.float64] = np.where(known, points, 0).sum(axis=1) / known.sum(axis=1)
    return result


def _numbers(values: NDArray[np.float64], digits: int) -> str:
    """A TOML array; JSON arrays are valid TOML, except for NaN."""
    return json.dumps(np.round(values, digits).tolist()).replace("NaN", "nan")
