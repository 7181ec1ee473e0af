"""The doors of ONNX models: files that somebody sends, with inputs and outputs of any shape."""

import random
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from tiny_models import constant_model, simcc_model, spot_pose_model, spots, yolox_model

from .driver import Kind
from .media_files import EXTREMES, broken

STN_CARD = 'kind = "stn"\nname = "still"\ndecoder = "theta"\nsize = [32, 24]\n'
PHOTO = spots((64, 64), [(25, 20), (40, 30), (32, 45)], 3)


def _files(make: str) -> Sequence[tuple[bytes, str]]:
    """Models of one sort, each with the text of its card."""
    with tempfile.TemporaryDirectory() as folder:
        if make == "detector":
            people = [(32, 32, 30, 40, 1, 0.9)]
            paths = [
                yolox_model(folder, people),
                yolox_model(folder, people, decoded=True, name="yolox_decoded.onnx"),
            ]
            return [(path.read_bytes(), "") for path in paths]
        if make == "stn":
            still = np.array([1, 0, 0, 0, 1, 0], np.float32)
            path = constant_model(folder, "stn.onnx", {"image": ["n", 3, 32, 24]}, still, ["n", 6])
            return [(path.read_bytes(), STN_CARD)]
        spot = spot_pose_model(folder)
        card = (
            spot.with_suffix(".toml")
            .read_text()
            .replace(str(Path(folder) / "rgb3.toml"), "SKELETON")
        )
        return [(spot.read_bytes(), card), (simcc_model(folder).read_bytes(), "")]


def _mutate(generator: random.Random, seed: tuple[bytes, str]) -> bytes:
    """Faults in the bytes or in the model's own structure; the card goes along behind a zero."""
    data, card = seed
    if generator.random() < 0.4:
        return card.encode() + b"\0" + broken(generator, data)
    model = onnx.load_model_from_string(data)
    for _ in range(generator.choice((1, 1, 2, 4))):
        _change(generator, model.graph)
    return card.encode() + b"\0" + model.SerializeToString()


def _change(generator: random.Random, graph: onnx.GraphProto) -> None:
    match generator.randrange(6):
        case 0:
            value = generator.choice([*graph.input, *graph.output])
            sides = value.type.tensor_type.shape.dim
            if sides:
                generator.choice(sides).dim_value = generator.choice(
                    (0, -1, 1, 3, 7, 64, 2**31, 2**40)
                )
        case 1:
            value = generator.choice([*graph.input, *graph.output])
            value.type.tensor_type.elem_type = generator.randrange(18)
        case 2:
            array = generator.choice(graph.initializer) if graph.initializer else None
            if array is not None and array.raw_data:
                array.raw_data = broken(generator, array.raw_data)[: len(array.raw_data)].ljust(
                    len(array.raw_data), b"\xff"
                )
        case 3:
            array = generator.choice(graph.initializer) if graph.initializer else None
            if array is not None and array.dims:
                array.dims[generator.randrange(len(array.dims))] = generator.choice(EXTREMES)
        case 4:
            node = generator.choice(graph.node)
            node.op_type = generator.choice(
                ("Exp", "Relu", "Shape", "Not", "Transpose", "Loop", "X")
            )
        case 5:
            value = generator.choice([*graph.input, *graph.output])
            del value.type.tensor_type.shape.dim[generator.randrange(5) :]


def _load(make: str, folder: Path, data: bytes) -> None:
    import rmpe
    from rmpe.boxes import Boxes
    from rmpe.detect import load_detector
    from rmpe.estimate.stn import load_stn

    card, _, model = data.partition(b"\0")
    path = folder / ("yolox.onnx" if make == "detector" else "spots.onnx")
    if not card and make == "pose":
        path = folder / "rtmpose.onnx"
    path.write_bytes(model)
    path.with_suffix(".toml").unlink(missing_ok=True)
    if card:
        skeleton = folder / "rgb3.toml"
        from tiny_models import RGB3

        skeleton.write_text(RGB3)
        path.with_suffix(".toml").write_bytes(card.replace(b"SKELETON", str(skeleton).encode()))
    if make == "detector":
        boxes = load_detector(path, "cpu", 1)(PHOTO)
        assert np.isfinite(boxes.xyxy).all()
        return
    sound = folder / "sound"
    sound.mkdir(exist_ok=True)
    if make == "stn":
        pose = sound / "spots.onnx"
        if not pose.exists():
            spot_pose_model(sound)
        rmpe.load(_people, pose, stn=path, threads=1)(PHOTO)
        load_stn(path, "cpu", 1)
        return
    poses = rmpe.load(_people, path, threads=1)(PHOTO)
    assert np.isfinite(poses.scores).all()
    assert isinstance(poses.boxes, np.ndarray)
    rmpe.load(_people, path, threads=1, flip_test=True).estimate(PHOTO, Boxes.empty())


def _people(image: np.ndarray, name: str = "") -> "object":
    from rmpe.boxes import Boxes

    return Boxes([[5, 5, 60, 60], [20, 10, 50, 60]])


def kinds() -> list[Kind]:
    """Doors that load models and run them."""
    return [
        Kind(make, partial(_files, make), _mutate, partial(_load, make))
        for make in ("detector", "pose", "stn")
    ]
