"""A single-person pose estimator (SPPE) from an ONNX file and its card."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.affine import Matrix, apply, boxes_to_crops, crop_to_heatmap, invert
from rmpe.boxes import Boxes
from rmpe.cards import ModelCard, find_card
from rmpe.errors import ModelError
from rmpe.estimate.candidates import MOST, Candidates, find_candidates
from rmpe.estimate.crops import Looks, network_input
from rmpe.estimate.heatmaps import (
    decode_argmax,
    decode_dark,
    decode_integral,
    quarter_steps,
    summits,
)
from rmpe.estimate.simcc import decode_simcc
from rmpe.propose.regions import grow_proposals
from rmpe.runtime import Device, Session
from rmpe.skeletons import load_skeleton

Outputs = list[NDArray[np.float32]]
DEFAULT_SIZE = (256, 192)
# How many outputs hold the answer of a decoder; one of heatmaps otherwise. What else a model
# answers is left alone.
ANSWERS = {"simcc": 2, "keypoints": 2}
# Decoders that look for peaks of heatmaps.
PEAKS = ("argmax", "dark")


class PoseModel:
    """Crops in, joints out; heatmap models, SimCC models and models that decode inside their graph.

    Attributes:
        card: What the model expects and answers.
        size: (height, width) of a crop.
        skeleton: What its joints are.
        flip_test: Whether every crop is also run mirrored and the two answers averaged: heatmaps if
            the model answers any (a graph with an SSTN: after the SDTN, in the crop's frame), else
            joints.
        batch: Most crops in one call of the engine.
        several: Whether `candidates` answers several places of a joint.
    """

    def __init__(
        self,
        session: Session,
        card: ModelCard,
        *,
        flip_test: bool = False,
        batch: int = 4,
        several: bool = False,
    ) -> None:
        """Check the model against its card by running it once.

        Raises:
            ModelError: If inputs or outputs are not what the card says, or ``several`` places of a
                joint are wanted of a model without heatmaps that have peaks.
        """
        if card.kind != "pose":
            raise ModelError(
                f"{session.path}: its card says it is a {card.kind} model, not a pose model"
            )
        self.session = session
        self.card = card
        self.flip_test = flip_test
        self.batch = batch
        self.several = several
        self.skeleton = load_skeleton(card.skeleton)
        shape = card.input_shape(session)
        if len(shape) != 4 or shape[1] not in (3, None):
            raise ModelError(
                f"{session.path}: a pose model takes (n, 3, height, width), or with layout = "
                f'"nhwc" in its card (n, height, width, 3); this one takes {session.input_shape}'
            )
        declared = card.size if min(card.size) else DEFAULT_SIZE
        self.size = (shape[2] or declared[0], shape[3] or declared[1])
        if shape[0] is not None:
            self.batch = shape[0]
        self._check(self._run(np.zeros((1, *self.size, 3), np.uint8)))
        # A graph with an SSTN finds another theta in the mirrored crop. Its heatmaps are both back
        # in the crop's frame.
        self._decoder = card.decoder
        self._used = slice(0, ANSWERS.get(card.decoder, 1))
        inside = card.decoder == "keypoints" and "heatmaps" in session.outputs
        if inside and (flip_test or several):
            place = list(session.outputs).index("heatmaps")
            self._decoder = "dark"
            self._used = slice(place, place + 1)
        if several and self._decoder not in PEAKS:
            raise ModelError(
                f"{session.path}: by its card its answers ({card.decoder}) have one place for each"
                " joint, so joints cannot be associated with people: leave associate out, or name"
                f" a model of heatmaps ({', '.join(PEAKS)})"
            )

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Estimate the person at the centre of each crop.

        Args:
            crops: RGB uint8 ``(N, h, w, 3)``; N may be 0.

        Returns:
            Points ``(N, K, 2)`` in crop pixels and scores ``(N, K)`` in [0, 1].
        """
        joints = len(self.skeleton)
        points = np.zeros((len(crops), joints, 2))
        scores = np.zeros((len(crops), joints), np.float32)
        for start in range(0, len(crops), self.batch):
            some = slice(start, start + self.batch)
            points[some], scores[some] = self._decode(self._answer(crops[some]))
        return points, scores.clip(0, 1)

    def candidates(self, crops: NDArray[np.uint8]) -> Candidates:
        """Estimate the person at the centre of each crop, with the rivals of every joint.

        Args:
            crops: RGB uint8 ``(N, h, w, 3)``; N may be 0.

        Returns:
            Places in crop pixels and scores in [0, 1]. The first candidate of a joint is what a
            call of the model answers; others are there if the model was made with ``several``.
        """
        if not self.several:
            return Candidates.only(*self(crops))
        joints = len(self.skeleton)
        points = np.full((len(crops), joints, MOST, 2), np.nan)
        scores = np.zeros((len(crops), joints, MOST), np.float32)
        count = np.zeros((len(crops), joints), np.int64)
        refine = partial(summits, blur=self.card.blur) if self._decoder == "dark" else quarter_steps
        for start in range(0, len(crops), self.batch):
            some = slice(start, start + self.batch)
            heatmaps = self._answer(crops[some])[0]
            found = find_candidates(heatmaps, refine)
            flat = found.points.reshape(-1, joints * MOST, 2)
            points[some] = self._in_crop(flat, heatmaps).reshape(found.points.shape)
            scores[some] = found.scores
            count[some] = found.count
        return Candidates(points, scores.clip(0, 1), count)

    def heatmaps(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What a heatmap model answers before decoding.

        Args:
            crops: RGB uint8 ``(N, h, w, 3)``; N is at least 1.

        Returns:
            ``(N, K, rows, columns)``.

        Raises:
            ModelError: If the model answers no heatmaps.
        """
        if self._decoder in ANSWERS:
            raise ModelError(f"{self.session.path}: answers {self.card.decoder}, not heatmaps")
        starts = range(0, len(crops), self.batch)
        return np.concatenate(
            [self._answer(crops[start : start + self.batch])[0] for start in starts]
        )

    def response(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How strongly each place answers, to look at: heatmaps, or what SimCC's answers stand for.

        SimCC answers for each axis apart; a place's response is the lower of its two, by which it
        is also scored.

        Args:
            crops: RGB uint8 ``(N, h, w, 3)``; N is at least 1.

        Returns:
            ``(N, K, rows, columns)``.

        Raises:
            ModelError: If the model answers joints only.
        """
        if self._decoder != "simcc":
            return self.heatmaps(crops)
        answers = [
            self._answer(crops[start : start + self.batch])
            for start in range(0, len(crops), self.batch)
        ]
        across, down = (np.concatenate([answer[axis] for answer in answers]) for axis in (0, 1))
        return np.minimum(across[:, :, None, :], down[:, :, :, None])

    def crop_maps(self, boxes: NDArray[np.float32]) -> Matrix:
        """Maps image_to_crop ``(N, 2, 3)`` for boxes ``(N, 4)``, grown as the card says."""
        return boxes_to_crops(
            grow_proposals(boxes, self.card.growth), self.size, self.card.alignment
        )

    def _answer(self, crops: NDArray[np.uint8]) -> Outputs:
        outputs = self._run(crops)[self._used]
        if not self.flip_test:
            return outputs
        mirrored = self._mirror(self._run(crops[:, :, ::-1])[self._used])
        return [
            (first + second) * np.float32(0.5)
            for first, second in zip(outputs, mirrored, strict=True)
        ]

    def _run(self, crops: NDArray[np.uint8]) -> Outputs:
        blob = network_input(crops, self.card)
        fixed = self.session.input_shape[0]
        if fixed is not None and len(blob) < fixed:  # a model exported for one batch size only
            blob = np.concatenate(
                [blob, np.zeros((fixed - len(blob), *blob.shape[1:]), np.float32)]
            )
        return [output[: len(crops)] for output in self.session(blob)]

    def _check(self, outputs: Outputs) -> None:
        joints = len(self.skeleton)
        shapes = [output.shape for output in outputs]
        expected, fits = {
            "simcc": (
                f"(n, {joints}, width x split) and (n, {joints}, height x split)",
                len(shapes) >= 2
                and [len(shape) for shape in shapes[:2]] == [3, 3]
                and [shape[1:] for shape in shapes[:2]]
                == [(joints, round(side * self.card.split)) for side in self.size[::-1]],
            ),
            "keypoints": (
                f"(n, {joints}, 2) and (n, {joints})",
                len(shapes) >= 2 and shapes[0][1:] == (joints, 2) and shapes[1][1:] == (joints,),
            ),
        }.get(
            self.card.decoder,
            (
                f"heatmaps (n, {joints}, h, w)",
                bool(shapes) and len(shapes[0]) == 4 and shapes[0][1] == joints,
            ),
        )
        if not fits:
            raise ModelError(
                f"{self.session.path}: by its card ({self.card.name}, {self.card.skeleton},"
                f" {self.card.decoder}) it answers {expected}, but it answers"
                f" {', '.join(map(str, shapes))}"
            )

    def _decode(self, outputs: Outputs) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        if self._decoder == "simcc":
            return decode_simcc(outputs[0], outputs[1], self.card.split)
        if self._decoder == "keypoints":
            return outputs[0].astype(np.float64), outputs[1]
        heatmaps = outputs[0]
        if self._decoder == "argmax":
            points, scores = decode_argmax(heatmaps)
        elif self._decoder == "dark":
            points, scores = decode_dark(heatmaps, self.card.blur)
        else:
            points, scores = decode_integral(heatmaps, self._decoder.removeprefix("integral-"))
        return self._in_crop(points, heatmaps), scores

    def _in_crop(
        self, points: NDArray[np.float64], heatmaps: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Points ``(N, P, 2)`` in cells of ``heatmaps`` as crop pixels."""
        size = (heatmaps.shape[2], heatmaps.shape[3])
        return apply(invert(crop_to_heatmap(self.size, size, self.card.alignment)), points)

    def _mirror(self, outputs: Outputs) -> Outputs:
        """The answer to mirrored crops as if to the crops themselves."""
        order = self.skeleton.flip_order
        if self._decoder == "keypoints":
            points = outputs[0][:, order]
            scores = outputs[1][:, order]
            return [np.stack([self.size[1] - 1 - points[..., 0], points[..., 1]], axis=-1), scores]
        mirrored = [output[:, order] for output in outputs]
        bins = outputs[0].shape[-1]  # of SimCC's two outputs only the first is horizontal
        # By the corner rule bin 0 lies on the crop's left edge, so mirroring moves the answer by 1
        # - bins a pixel.
        shift = round(1 - bins / self.size[1]) if self.card.alignment == "corner" else 0
        mirrored[0] = mirrored[0][..., np.clip(bins - 1 - np.arange(bins) + shift, 0, bins - 1)]
        return mirrored


class BoxCropper:
    """Crops centred on the proposals themselves: a pipeline without STN; a `Cropper`."""

    def __init__(self, pose: PoseModel) -> None:
        """Cut crops for this pose model."""
        self.pose = pose

    def __call__(
        self,
        images: list[NDArray[np.uint8]],  # noqa: ARG002
        proposals: list[Boxes],
    ) -> Looks:
        """One look at each proposal as it is."""
        boxes = [found.xyxy for found in proposals]
        return Looks.once([self.pose.crop_maps(found) for found in boxes], boxes)


def load_pose_model(
    path: str | Path,
    device: Device = "auto",
    threads: int = 0,
    card: Path | None = None,
    *,
    flip_test: bool = False,
    batch: int = 4,
    several: bool = False,
) -> PoseModel:
    """A pose model from an ONNX file and its card.

    Raises:
        ModelError: If the model or its card cannot be used.
    """
    session = Session(path, device, threads)
    return PoseModel(
        session, find_card(session, card), flip_test=flip_test, batch=batch, several=several
    )
