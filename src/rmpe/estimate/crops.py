"""Cut people out of an image and turn crops into a network's input."""

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.affine import Matrix
from rmpe.boxes import Boxes
from rmpe.cards import ModelCard


class Cropper(Protocol):
    """Where the pose estimator looks: from proposals to crops."""

    def __call__(
        self, images: list[NDArray[np.uint8]], proposals: list[Boxes]
    ) -> tuple[list[Matrix], list[NDArray[np.float32]]]:
        """Place a crop on every person.

        Args:
            images: RGB uint8 images.
            proposals: One `Boxes` an image; not grown.

        Returns:
            Maps image_to_crop, one array ``(N_i, 2, 3)`` an image, and the boxes ``(N_i, 4)`` on
            which the crops are centred.
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
