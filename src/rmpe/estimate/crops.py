"""Cut people out of an image and turn crops into a network's input."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.affine import Matrix
from rmpe.boxes import Boxes
from rmpe.cards import ModelCard


@dataclass(frozen=True, eq=False)
class Looks:
    """Where the pose estimator looks for the people of several images, one array an image.

    Attributes:
        image_to_crop: Maps ``(M_i, 2, 3)``. The first N_i are one for each proposal; the others are
            second looks.
        person: ``(M_i,)`` int64, the proposal that each is for.
        boxes: ``(N_i, 4)`` xyxy, the boxes on which the first N_i crops are centred.
    """

    image_to_crop: list[Matrix]
    person: list[NDArray[np.int64]]
    boxes: list[NDArray[np.float32]]

    @classmethod
    def once(cls, image_to_crop: list[Matrix], boxes: list[NDArray[np.float32]]) -> "Looks":
        """One look at everybody."""
        return cls(image_to_crop, [np.arange(len(maps)) for maps in image_to_crop], boxes)

    def whose(self) -> NDArray[np.int64]:
        """``(M,)`` the person of each look, counted over all images."""
        before = np.cumsum([0, *map(len, self.boxes)])
        return np.concatenate(
            [start + person for start, person in zip(before, self.person, strict=False)]
        )


class Cropper(Protocol):
    """Where the pose estimator looks: from proposals to crops."""

    def __call__(self, images: list[NDArray[np.uint8]], proposals: list[Boxes]) -> Looks:
        """Place a crop, or two, on every person.

        Args:
            images: RGB uint8 images.
            proposals: One `Boxes` an image; not grown.
        """
        ...


def cut(
    image: NDArray[np.uint8], image_to_crop: Matrix, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Warp one crop a person, bilinear; black outside the image.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        image_to_crop: Maps ``(N, 2, 3)``, image pixels to crop pixels.
        size: (height, width) of a crop.

    Returns:
        Crops ``(N, height, width, 3)`` uint8.
    """
    crops = np.empty((len(image_to_crop), *size, 3), np.uint8)
    for crop, matrix in zip(crops, image_to_crop, strict=True):
        cv2.warpAffine(
            image,
            matrix,
            size[::-1],
            dst=crop,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        )
    return crops


def network_input(crops: NDArray[np.uint8], card: ModelCard) -> NDArray[np.float32]:
    """Crops ``(N, h, w, 3)`` RGB as the model takes them, float32.

    The card says the order of colours and axes (``(N, 3, h, w)`` unless ``nhwc``) and the scale.
    """
    channels = crops[..., ::-1] if card.color == "bgr" else crops
    mean = np.array(card.mean, np.float32)
    sd = np.array(card.sd, np.float32)
    blob = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    np.multiply(channels.transpose(0, 3, 1, 2), (1 / sd)[:, None, None], out=blob)
    blob -= (mean / sd)[:, None, None]
    return card.arranged(blob)
