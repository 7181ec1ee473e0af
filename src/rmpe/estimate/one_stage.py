"""One-stage models: boxes and joints of everybody in one pass, from an ONNX file and its card.

Source: Lu et al., "RTMO" (CVPR 2024); Maji et al., "YOLO-Pose" (CVPR workshops 2022).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, box_nms, size_of
from rmpe.cards import ModelCard, find_card
from rmpe.detect.letterbox import letterbox
from rmpe.errors import ModelError
from rmpe.estimate.crops import network_input
from rmpe.estimate.score import pose_scores
from rmpe.poses import Poses
from rmpe.runtime import Device, Session
from rmpe.skeletons import load_skeleton

DEFAULT_SIZE = (640, 640)
# Suppression compares all pairs, and an untrained model is sure of every box.
CANDIDATES = 1000
BOX = 5  # numbers before the joints in a row of YOLO-pose: centre, sides, score


class OneStageModel:
    """An image in, everybody's pose out; no detector, no crops.

    The decoder ``rtmo`` reads ``dets (1, N, 5)``, left, top, right, bottom and score, and
    ``keypoints (1, N, K, 3)``, x, y and score; ``yolo-pose`` reads one output
    ``(1, 5 + 3 K, N)``: centre, width, height, score, then x, y and score of each joint, without
    suppression. All places are in input pixels.

    Attributes:
        card: What the model expects and answers.
        size: (height, width) of its input.
        skeleton: The joints it answers.
    """

    def __init__(self, session: Session, card: ModelCard) -> None:
        """Check the model against its card by running it once.

        Raises:
            ModelError: If inputs or outputs are not what the card says.
        """
        if card.kind != "one-stage":
            raise ModelError(
                f"{session.path}: its card says it is a {card.kind} model, not a one-stage model"
            )
        shape = next(iter(session.inputs.values()))
        if len(shape) != 4 or shape[1] not in (3, None):
            raise ModelError(
                f"{session.path}: a one-stage model takes (1, 3, height, width), "
                f"this one takes {shape}"
            )
        self.session = session
        self.card = card
        self.skeleton = load_skeleton(card.skeleton)
        declared = card.size if min(card.size) else DEFAULT_SIZE
        self.size = (shape[2] or declared[0], shape[3] or declared[1])
        self._people(np.full((*self.size, 3), 114, np.uint8))

    def __call__(self, image: NDArray[np.uint8]) -> Poses:
        """Everybody in an RGB image ``(H, W, 3)``, redundant poses among them, best box first."""
        canvas, scale = letterbox(image, self.size)
        rows, joints = self._people(canvas)
        sure = rows[:, 4] >= self.card.score_threshold
        rows = rows[sure]
        joints = joints[sure]
        order = np.argsort(-rows[:, 4], kind="stable")[:CANDIDATES]
        boxes = Boxes(rows[order, :4] / scale, rows[order, 4].clip(0, 1)).clip(size_of(image))
        joint_scores = joints[order, :, 2].clip(0, 1)
        poses = Poses(
            joints[order, :, :2] / scale,
            joint_scores,
            pose_scores(boxes.scores, joint_scores),
            boxes.xyxy,
            self.skeleton,
        )
        return poses if self.card.decoder == "rtmo" else poses[box_nms(boxes, self.card.nms)]

    def _people(self, canvas: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rows ``(N, 5)`` xyxy and score, and joints ``(N, K, 3)``, both in input pixels."""
        outputs = self.session(network_input(canvas[None], self.card))
        count = len(self.skeleton)
        shapes = [output.shape for output in outputs]
        if self.card.decoder == "rtmo":
            expected = f"(1, N, 5) and (1, N, {count}, 3)"
            if (
                len(shapes) >= 2
                and len(shapes[0]) == 3
                and shapes[0][2] == 5
                and shapes[1][1:] == (shapes[0][1], count, 3)
            ):
                return outputs[0][0], outputs[1][0]
        else:
            expected = f"(1, {BOX + 3 * count}, N)"
            if len(shapes[0]) == 3 and shapes[0][1] == BOX + 3 * count:
                rows = outputs[0][0].T
                center = rows[:, :2]
                half = rows[:, 2:4] / 2
                boxes = np.concatenate([center - half, center + half, rows[:, 4:BOX]], axis=1)
                return boxes, rows[:, BOX:].reshape(-1, count, 3)
        raise ModelError(
            f"{self.session.path}: by its card ({self.card.name}, {self.card.skeleton}, "
            f"{self.card.decoder}) it answers {expected}, but it answers "
            f"{', '.join(map(str, shapes))}"
        )


def load_one_stage(
    path: str | Path, device: Device = "auto", threads: int = 0, card: Path | None = None
) -> OneStageModel:
    """A one-stage model from an ONNX file and its card.

    Raises:
        ModelError: If the model or its card cannot be used.
    """
    session = Session(path, device, threads)
    return OneStageModel(session, find_card(session, card))
