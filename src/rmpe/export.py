"""Export of checkpoints to ONNX files with embedded model cards, for `rmpe predict` or others."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rmpe.affine import boxes_to_crops
from rmpe.annotations.coco import read_coco_file
from rmpe.annotations.image_names import ImageFolder
from rmpe.cards import METADATA_KEY, ModelCard, find_card
from rmpe.config import from_mapping
from rmpe.datasets.coco import read_coco
from rmpe.detect.letterbox import letterbox
from rmpe.errors import DataError, ModelError, UsageError
from rmpe.estimate.crops import cut, network_input
from rmpe.files import read_toml
from rmpe.media.images import read_image
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.checkpoint import load_checkpoint
from rmpe.nets.decoding import decode_heatmaps
from rmpe.nets.detectors.person_detector import STRIDES, PersonDetector, detections
from rmpe.nets.detectors.ssd512 import Ssd512
from rmpe.nets.localisation import Localisation
from rmpe.nets.parallel_sppe import SstnSppe
from rmpe.nets.sstn import sdtn, sdtn_points, stn
from rmpe.propose.regions import grow_proposals
from rmpe.quantise import quantise
from rmpe.runtime import Session
from rmpe.skeletons import load_skeleton

Way: TypeAlias = Literal["composed", "crop"]
WAYS: tuple[str, ...] = get_args(Way)
Kind: TypeAlias = Literal["pose", "detector", "stn"]
# Descriptive entries of a card; the others follow from the net.
ABOUT = ("name", "license", "source", "notes")
# Convolutions of a pose model that stay float in int8: its joints lie nearer to where float32 has
# them, and their scores rank people as it does, for a tenth of the time. Of other models none. A
# net for which another number is better has `float_first`, and its file carries it (`FLOAT_KEY`).
FIRST_IN_FLOAT, LAST_IN_FLOAT = 3, 4
FLOAT_KEY = "rmpe_float_first"
# Width of the Gaussian that evens out exported heatmaps around a peak: chosen on the photos of
# configs/dev.txt for the models that ship.
BLUR = 7
# How many boxes score one of a person detector's: chosen on the same photos.
VOTERS = 3
# Outputs of detectors.
BOXES = ["boxes", "scores"]
OPSET = 18  # the first opset whose GridSample runs in both ONNX Runtime and OpenVINO


class LastHeatmaps(nn.Module):
    """The heatmaps of a pose estimator's last stack."""

    def __init__(self, sppe: nn.Module) -> None:
        super().__init__()
        self.sppe = sppe

    def forward(self, images: Tensor) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` of images ``(B, 3, H, W)``."""
        heatmaps: Tensor = self.sppe(images)[-1]
        return heatmaps


class Maps(nn.Module):
    """The convolutions of a person detector: images ``(B, 3, H, W)`` to what `Cells` takes."""

    def __init__(self, net: PersonDetector) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits ``(B, 1, h, w)`` of each stride, then raw boxes ``(B, 4, h, w)``."""
        logits, raw = self.net.maps(images)
        return (*logits, *raw)


class Cells(nn.Module):
    """Boxes ``(B, A, 4)`` xyxy in input pixels and scores ``(B, A)`` of a person detector's cells.

    It takes what `Maps` answers.
    """

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores of every cell, before NMS."""
        found = detections(maps[: len(STRIDES)], maps[len(STRIDES) :])
        return found.boxes, found.logits.sigmoid()


class BoxesAndScores(nn.Module):
    """A detector with its decoding.

    Maps images ``(B, 3, H, W)`` to boxes ``(B, A, 4)`` xyxy in input pixels and scores ``(B, A)``.
    """

    def __init__(self, net: Ssd512) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores of every default box, before NMS."""
        found = self.net.detect(images)
        return found.boxes, found.logits.sigmoid()


class InCrop(nn.Module):
    """STN, SPPE, decoding and SDTN in one graph, on the proposal's crop.

    Maps images ``(B, 3, H, W)`` to points ``(B, K, 2)`` in pixels of that crop and scores
    ``(B, K)``; with ``extra`` also to the heatmaps ``(B, K, h, w)`` after the SDTN and theta
    ``(B, 2, 3)``. Joints are decoded in the centred crop and mapped back by theta, which is the
    SDTN without resampling.

    Source: RMPE, Figure 3.
    """

    def __init__(self, net: SstnSppe, extra: bool = False) -> None:
        super().__init__()
        self.net = net
        self.extra = extra

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Points and scores, and the extra outputs if requested."""
        height, width = images.shape[-2:]
        theta = self.net.localisation(images)
        heatmaps = self.net.sppe(stn(images, theta, (height, width)))[-1]
        points, scores = decode_heatmaps(heatmaps, (height, width))
        answer = (sdtn_points(points, theta, (height, width)), scores.clamp(0, 1))
        return (*answer, sdtn(heatmaps, theta), theta) if self.extra else answer


def export_checkpoint(
    checkpoint: Path,
    out: Path,
    way: Way = "composed",
    *,
    extra: bool = False,
    about: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the ONNX files of a checkpoint.

    - A pose estimator becomes ``sppe.onnx``, a localisation net ``stn.onnx``, a person detector
      ``detector.onnx``.
    - A joined net becomes both ``sppe.onnx`` and ``stn.onnx`` (``composed``: theta is composed with
      the crop's own map, and pixels are sampled once, from the image), or a single graph
      ``sstn_sppe.onnx`` (``crop``: as in the paper).

    Args:
        checkpoint: A file written by `rmpe.nets.checkpoint.save_checkpoint`. In addition to
            ``model`` its configuration needs ``skeleton`` and ``size``; ``name``, ``growth``,
            ``license``, ``source`` and ``notes`` go into the card.
        out: Folder to write to; it is created if necessary.
        way: How a joined net will run.
        extra: Add heatmaps and theta to the outputs of the single graph.
        about: Entries of `ABOUT` for the card, in place of the checkpoint's.

    Returns:
        The files written.

    Raises:
        ModelError: If the checkpoint cannot be used.
        UsageError: If ``way`` or ``extra`` does not apply to it, or the folder cannot be written
            to.
    """
    if way not in WAYS:
        raise UsageError(f"unknown way {way!r}; known: {', '.join(WAYS)}")
    net, config = load_checkpoint(checkpoint)
    config |= about or {}
    if isinstance(net, PersonDetector | Ssd512):
        # Every card names a skeleton; a detector does not use it.
        config = {"skeleton": "coco17", **config}
    if missing := {"skeleton", "size"} - config.keys():
        raise ModelError(f"{checkpoint}: its configuration has no {sorted(missing)[0]!r}")
    if way == "crop" and not isinstance(net, SstnSppe):
        raise UsageError(
            f"{checkpoint}: a {config['model']['name']} net has no STN and SPPE"
            " to export in one graph"
        )
    if extra and way != "crop":
        raise UsageError(
            "heatmaps and theta are extra outputs of the single graph: choose the way 'crop'"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot create the folder: {error.strerror}") from error
    if isinstance(net, SstnSppe) and way == "crop":
        outputs = ["keypoints", "scores", *(["heatmaps", "theta"] if extra else [])]
        card = model_card(config, "pose", "keypoints")
        return [export_onnx(InCrop(net, extra), outputs, card, out / "sstn_sppe.onnx")]
    if isinstance(net, SstnSppe):
        return [_export_part(net.localisation, config, out), _export_part(net.sppe, config, out)]
    return [_export_part(net, config, out)]


def read_about(path: Path) -> dict[str, str]:
    """Descriptive entries of a card (see `ABOUT`) from a TOML file.

    Raises:
        DataError: If the file cannot be read or has other entries.
    """
    entries = read_toml(path)
    wrong = [
        key for key, value in entries.items() if key not in ABOUT or not isinstance(value, str)
    ]
    if wrong:
        raise DataError(f"{path}: {wrong[0]} is not one of {', '.join(ABOUT)}, or is not a string")
    return entries


def _export_part(net: nn.Module, config: dict[str, Any], out: Path) -> Path:
    if isinstance(net, PersonDetector):
        card = model_card(config, "detector", "boxes")
        card = replace(card, stride=max(STRIDES), voters=VOTERS)
        return export_detector(net, card, out / "detector.onnx")
    if isinstance(net, Ssd512):
        card = model_card(config, "detector", "boxes")
        return export_onnx(BoxesAndScores(net), BOXES, card, out / "detector.onnx")
    if isinstance(net, Localisation):
        return export_onnx(net, ["theta"], model_card(config, "stn", "theta"), out / "stn.onnx")
    return export_onnx(
        LastHeatmaps(net), ["heatmaps"], model_card(config, "pose", "dark"), out / "sppe.onnx"
    )


def model_card(config: dict[str, Any], kind: Kind, decoder: str) -> ModelCard:
    """The card of one part of a checkpoint."""
    known = {
        key: config[key]
        for key in ("growth", "score_threshold", "nms", *ABOUT[1:])
        if key in config
    }
    entries = {
        "kind": kind,
        "name": config.get("name", config["model"]["name"]),
        "decoder": decoder,
        "skeleton": config["skeleton"],
        "size": list(config["size"]),
        "color": "rgb",
        "mean": [PIXEL_MEAN] * 3,
        "sd": [PIXEL_SD] * 3,
        "alignment": "center",
        "growth": 1.3,
        "blur": BLUR if decoder == "dark" else 0,
        **known,
    }
    try:
        return from_mapping(ModelCard, entries, "checkpoint")
    except DataError as error:
        raise ModelError(str(error)) from error


def export_onnx(net: nn.Module, outputs: list[str], card: ModelCard, path: Path) -> Path:
    """Write one net as ONNX with a free batch axis and its card in the metadata.

    Args:
        net: Maps images ``(B, 3, height, width)`` to one tensor or a tuple.
        outputs: Names of the outputs.
        card: Stored as TOML under ``rmpe_card``; its ``size`` is the size of the images.
        path: File to write.
    """
    batch = {0: torch.export.Dim("batch")}
    images = torch.zeros(2, 3, *card.size)
    return _save(_traced(net, (images,), ["images"], outputs, (batch,)), net, card, path)


def export_detector(net: PersonDetector, card: ModelCard, path: Path) -> Path:
    """Write a person detector as ONNX for images of any size, with its card in the metadata.

    Its convolutions do not depend on the size of the image, and tracing them for any size takes
    minutes. So they are traced for one, and only the cells for any.

    Args:
        net: The detector.
        card: Stored as TOML under ``rmpe_card``.
        path: File to write.
    """
    import onnx

    free = torch.export.Dim
    batch = free("batch")
    names = [f"{what}_{stride}" for what in ("logits", "raw") for stride in STRIDES]
    images = torch.zeros(2, 3, *card.size)
    convolutions = _traced(Maps(net), (images,), ["images"], names, ({0: batch},))
    with torch.inference_mode():
        maps = Maps(net)(images)
    grids = [{2: free(f"rows_{stride}"), 3: free(f"columns_{stride}")} for stride in STRIDES]
    shapes = tuple({0: batch, **grid} for grid in grids * 2)
    cells = _traced(Cells(), maps, [f"cells_{name}" for name in names], BOXES, (shapes,))
    cells = onnx.compose.add_prefix(cells, "cells_", rename_inputs=False, rename_outputs=False)
    del convolutions.graph.value_info[:]
    for value in [*convolutions.graph.input, *convolutions.graph.output]:
        for axis, side in ((2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{side}"
    model = onnx.compose.merge_models(
        convolutions, cells, io_map=[(name, f"cells_{name}") for name in names]
    )
    del model.opset_import[1:]  # the merger lists the version that both have twice
    return _save(model, net, card, path)


def _traced(
    net: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: list[str],
    output_names: list[str],
    free: tuple[Any, ...],
) -> Any:
    """A net as an ONNX model; ``free`` names the axes of each input that may have any length."""
    # The exporter reports progress as warnings.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net.eval(),
            inputs,
            input_names=input_names,
            output_names=output_names,
            dynamic_shapes=free,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ModelError(f"a {type(net).__name__} cannot be exported: PyTorch answers nothing")
    return program.model_proto


def _save(model: Any, net: nn.Module, card: ModelCard, path: Path) -> Path:
    """Write an ONNX model with its card."""
    import onnx

    properties = {METADATA_KEY: card.to_toml()}
    for part in net.modules():
        if first := getattr(part, "float_first", 0):
            properties[FLOAT_KEY] = str(first)
    onnx.helper.set_model_props(model, properties)
    try:
        onnx.save(model, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def export_int8(file: Path, annotations: Path, images: Path, out: Path, people: int = 256) -> Path:
    """Quantise an exported model to int8.

    The first and last layers of a pose model stay float, and its ranges and a detector's are
    averaged: outliers of sums that no ReLU follows would leave few of the 256 steps to the others.

    Args:
        file: What `export_checkpoint` wrote.
        annotations: COCO JSON of the people or, for a detector, photos to calibrate with.
        images: Folder of its images.
        out: File to write, which may be ``file``.
        people: Largest number of people, or twice that of photos.

    Raises:
        DataError: If the annotations cannot be used or contain nobody.
        ImageError: If an image cannot be read.
    """
    session = Session(file)
    card = find_card(session)
    first = int(session.metadata.get(FLOAT_KEY, FIRST_IN_FLOAT if card.kind == "pose" else 0))
    if card.kind == "detector":
        photos = photo_batches(annotations, images, card, people // 2)
        return quantise(file, photos, out, first=first, averaged=True)
    batches = calibration_batches(annotations, images, card, people)
    if card.kind == "stn":
        return quantise(file, batches, out, first=first)
    return quantise(file, batches, out, first=first, last=LAST_IN_FLOAT, averaged=True)


def check_photos(annotations: Path, images: Path) -> None:
    """That there are photos to calibrate with, before a net is exported.

    Args:
        annotations: COCO JSON.
        images: Folder of its images.

    Raises:
        DataError: If the annotations cannot be used, or none of their photos is in the folder.
    """
    names = [image.file_name for image in read_coco_file(annotations).images]
    if not images.is_dir():
        raise DataError(f"{images}: no such folder: name that of the photos with --images")
    folder = ImageFolder(images)
    if names and not any(folder.find(name) for name in names):
        raise DataError(
            f"{images}: has none of the {len(names)} photos of {annotations}: "
            "name their folder with --images"
        )


def calibration_batches(
    annotations: Path, images: Path, card: ModelCard, people: int = 256, batch: int = 16
) -> Iterator[NDArray[np.float32]]:
    """Calibration inputs of a pose model or STN: crops of people, evenly spread over a data set.

    Args:
        annotations: COCO keypoints JSON with the joints of the card's skeleton.
        images: Folder of its images.
        card: Card of the model.
        people: Largest number of people.
        batch: People per batch.

    Raises:
        DataError: If the annotations cannot be used or contain no people.
        ImageError: If an image cannot be read.
    """
    persons = read_coco(annotations, images, load_skeleton(card.skeleton))
    if not len(persons):
        raise DataError(
            f"{annotations}: contains no people to calibrate with whose photos are in {images}: "
            "name other annotations, or another folder with --images"
        )
    chosen = _spread(len(persons), people)
    maps = boxes_to_crops(
        grow_proposals(persons.boxes[chosen], card.growth), card.size, card.alignment
    )
    photos = (read_image(persons.images[index]) for index in persons.image_index[chosen])
    return _batches(
        (cut(photo, one[None], card.size)[0] for photo, one in zip(photos, maps, strict=True)),
        batch,
        card,
    )


def photo_batches(
    annotations: Path, images: Path, card: ModelCard, photos: int = 128, batch: int = 8
) -> Iterator[NDArray[np.float32]]:
    """Calibration inputs of a person detector: letterboxed photos.

    Args:
        annotations: COCO JSON.
        images: Folder of its images.
        card: Card of the model.
        photos: Largest number of photos.
        batch: Photos per batch.

    Raises:
        DataError: If the annotations cannot be used or contain no photos.
        ImageError: If an image cannot be read.
    """
    names = read_coco(annotations, images, load_skeleton(card.skeleton)).images
    if not names:
        raise DataError(
            f"{annotations}: contains no photos to calibrate with that are in {images}: "
            "name other annotations, or another folder with --images"
        )
    chosen = (read_image(names[index]) for index in _spread(len(names), photos))
    return _batches((letterbox(photo, card.size)[0] for photo in chosen), batch, card)


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of ``count`` indices, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def _batches(
    images: Iterator[NDArray[np.uint8]], batch: int, card: ModelCard
) -> Iterator[NDArray[np.float32]]:
    while some := list(islice(images, batch)):
        yield network_input(np.stack(some), card)
