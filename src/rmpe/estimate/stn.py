"""A spatial transformer network (STN) from an ONNX file: finds the person inside a sloppy box.

The composed way: the network looks at the box's crop and answers theta; its map is composed with
the crop's own, so the pose model's crop is sampled once, from the image. The inverse of the
composed map is the SDTN. It stands before any pose model.

Source: RMPE, section 3.1, Eq. 1-4. Differs: the paper samples the transformed crop from the crop,
and applies every theta; a card's ``keep_overlap`` leaves alone what theta hardly moves, and its
``second_look`` asks the pose model about the proposal, too.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.affine import (
    SINGULAR,
    Matrix,
    apply,
    boxes_to_crops,
    compose,
    invert,
    normalised_to_pixels,
    pixels_to_normalised,
)
from rmpe.boxes import Boxes
from rmpe.cards import ModelCard, find_card
from rmpe.errors import ModelError
from rmpe.estimate.crops import Looks, cut, network_input
from rmpe.estimate.pose_model import PoseModel
from rmpe.propose.regions import grow_proposals
from rmpe.runtime import Device, Session

# Times the crop's area that a theta may look at.
WIDEST = 100.0
# Stands for no transformer where one is named.
NO_STN = "none"
IDENTITY = np.array([[1, 0, 0], [0, 1, 0]], np.float64)


class Stn:
    """Refines crops of people.

    Attributes:
        card: What the network expects; its growth is that of the boxes it was trained with.
        size: (height, width) of its input.
    """

    def __init__(self, session: Session, card: ModelCard) -> None:
        """Check the model against its card.

        Raises:
            ModelError: If it is not an STN.
        """
        shape = card.input_shape(session)
        if card.kind != "stn" or len(shape) != 4:
            raise ModelError(
                f"{session.path}: not a spatial transformer: {card.kind} model with input {shape}"
            )
        self.session = session
        self.card = card
        self.size = (shape[2] or card.size[0], shape[3] or card.size[1])

    def looks(self, images: list[NDArray[np.uint8]], boxes: list[Boxes], pose: PoseModel) -> Looks:
        """Place crops for a pose model so that the people are centred.

        Args:
            images: RGB uint8 images.
            boxes: Proposals, one `Boxes` an image; not grown.
            pose: The model that will see the crops.

        Returns:
            The looks, and boxes around the people found. Where theta hardly moves the proposal
            (`ModelCard.keep_overlap`), both are the proposal's own; elsewhere the second look, if
            there is one (`ModelCard.second_look`), is at the proposal.
        """
        xyxy = np.concatenate([found.xyxy for found in boxes])
        image_to_stn = [
            boxes_to_crops(
                grow_proposals(found.xyxy, self.card.growth), self.size, self.card.alignment
            )
            for found in boxes
        ]
        crops = [
            cut(image, maps, self.size) for image, maps in zip(images, image_to_stn, strict=True)
        ]
        theta = self._theta(np.concatenate(crops))
        image_to_centred = compose(self._stn_to_centred(theta), np.concatenate(image_to_stn))
        height, width = self.size
        # In the centred frame the grown person fills the crop: undo the STN's growth, apply the
        # pose model's.
        person = Boxes([[0, 0, width, height]]).grow(1 / self.card.growth)
        centred_to_crop = boxes_to_crops(
            person.grow(pose.card.growth).xyxy, pose.size, pose.card.alignment
        )
        # Edges of a box lie half a pixel before the centres of its first pixels
        # (docs/conventions.md, `center`).
        x1, y1, x2, y2 = person.xyxy[0] - 0.5
        corners = apply(invert(image_to_centred), [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) + 0.5
        found_boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(
            np.float32
        )
        # A proposal that is kept gives exactly the crop that it gives without an STN.
        keep = overlap_with_proposal(theta) >= self.card.keep_overlap
        found_boxes[keep] = xyxy[keep]
        own = pose.crop_maps(xyxy)
        image_to_crop = np.where(
            keep[:, None, None], own, compose(centred_to_crop, image_to_centred)
        )
        ends = np.cumsum([len(found) for found in boxes])[:-1]
        once = Looks.once(np.split(image_to_crop, ends), np.split(found_boxes, ends))
        if not self.card.second_look:
            return once
        again = [np.flatnonzero(~kept) for kept in np.split(keep, ends)]
        return Looks(
            [
                np.concatenate([first, proposal[rows]])
                for first, proposal, rows in zip(
                    once.image_to_crop, np.split(own, ends), again, strict=True
                )
            ],
            [np.concatenate([first, rows]) for first, rows in zip(once.person, again, strict=True)],
            once.boxes,
        )

    def _theta(self, crops: NDArray[np.uint8]) -> Matrix:
        """Theta ``(N, 2, 3)`` of each crop, centred_to_disturbed in normalised coordinates."""
        if len(crops) == 0:
            return np.zeros((0, 2, 3))
        theta = (
            self.session(network_input(crops, self.card))[0].astype(np.float64).reshape(-1, 2, 3)
        )
        # A theta that cannot be inverted, or that looks far beyond the crop, says nothing about
        # where the person is: keep the detector's box.
        area = np.abs(np.linalg.det(theta[..., :2]))
        theta[(area <= SINGULAR) | (area > WIDEST) | (np.abs(theta).max(axis=(1, 2)) > WIDEST)] = (
            IDENTITY
        )
        return theta

    def _stn_to_centred(self, theta: Matrix) -> Matrix:
        return invert(
            compose(
                normalised_to_pixels(self.size), compose(theta, pixels_to_normalised(self.size))
            )
        )


def overlap_with_proposal(theta: Matrix) -> NDArray[np.float64]:
    """IoU of the region that theta looks at with the proposal's own crop.

    Args:
        theta: ``(N, 2, 3)``, centred_to_disturbed in normalised coordinates, where the proposal's
            crop is the square from -1 to 1. A region that is turned counts by its bounding box.

    Returns:
        ``(N,)``.
    """
    corners = apply(theta, [[-1, -1], [1, -1], [1, 1], [-1, 1]])
    low = corners.min(axis=1)
    high = corners.max(axis=1)
    shared = (np.minimum(high, 1) - np.maximum(low, -1)).clip(0).prod(axis=1)
    overlap: NDArray[np.float64] = shared / ((high - low).prod(axis=1) + 4 - shared)
    return overlap


class StnCropper:
    """Crops centred on the people that an STN finds; a `Cropper`."""

    def __init__(self, stn: Stn, pose: PoseModel) -> None:
        """Let ``stn`` place the crops of ``pose``."""
        self.stn = stn
        self.pose = pose

    def __call__(self, images: list[NDArray[np.uint8]], proposals: list[Boxes]) -> Looks:
        """Looks at the people found, and at some of the proposals."""
        return self.stn.looks(images, proposals, self.pose)


def load_stn(
    path: str | Path, device: Device = "auto", threads: int = 0, card: Path | None = None
) -> Stn:
    """A spatial transformer from an ONNX file and its card.

    Raises:
        ModelError: If the model or its card cannot be used.
    """
    session = Session(path, device, threads)
    return Stn(session, find_card(session, card))
