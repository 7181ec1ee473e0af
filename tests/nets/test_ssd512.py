"""SSD-512: boxes, coding, matching and loss compared with loops; weights, overfitting, export."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rmpe.boxes import iou
from rmpe.errors import ModelError
from rmpe.nets.detectors.boxes import corners
from rmpe.nets.detectors.ssd512 import (
    MAPS,
    SIZE,
    Ssd512,
    SsdOutput,
    decode,
    default_boxes,
    encode,
)
from rmpe.nets.detectors.ssd512_weights import load_published
from rmpe.training.detector.augment import PhotoAugmentation, PhotoBatch, draw_patches
from rmpe.training.detector.patches import patch_of, sample_patch, zoom_out
from rmpe.training.detector.ssd_loss import match_defaults, ssd_loss

NARROW = 1 / 16


@pytest.fixture(scope="module")
def defaults():
    return default_boxes()


def random_people(generator, count):
    start = torch.rand(count, 2, generator=generator) * 0.6
    return torch.cat(
        [start, start + 0.05 + torch.rand(count, 2, generator=generator) * 0.34], dim=1
    )


def test_default_boxes_are_the_published_ones(defaults):
    assert len(defaults) == 24_564
    counts = [4, 6, 6, 6, 6, 4, 4]
    assert sum(cells**2 * count for cells, count in zip(MAPS, counts, strict=True)) == len(defaults)
    # First cell of the finest map: middle half a cell in, the square of 0.04, the one between 0.04
    # and 0.10, 2:1, 1:2.
    sides = [
        [0.04, 0.04],
        [math.sqrt(0.004)] * 2,
        [0.04 * 2**0.5, 0.04 / 2**0.5],
        [0.04 / 2**0.5, 0.04 * 2**0.5],
    ]
    np.testing.assert_allclose(
        defaults[:4], [[0.5 / 64, 0.5 / 64, *pair] for pair in sides], atol=1e-6
    )
    np.testing.assert_allclose(defaults[4, :2], [1.5 / 64, 0.5 / 64], atol=1e-6)  # x runs first
    np.testing.assert_allclose(defaults[-4:, :2], 0.5, atol=1e-6)


def test_encode_and_decode_are_inverse(defaults):
    generator = torch.Generator().manual_seed(0)
    boxes = random_people(generator, len(defaults))
    np.testing.assert_allclose(decode(encode(boxes, defaults), defaults), boxes, atol=1e-5)
    zero = torch.zeros(len(defaults), 4)
    np.testing.assert_allclose(decode(zero, defaults), corners(defaults), atol=1e-6)


def match_by_loops(people, boxes):
    """Bipartite matching by the best pair, then all boxes with IoU above one half (SSD, 2.2)."""
    overlap = iou(people, boxes)
    result = [-1] * len(boxes)
    for column in range(len(boxes)):
        best = max(range(len(people)), key=lambda row: overlap[row, column])
        if overlap[best, column] > 0.5:
            result[column] = best
    free_rows, free_columns = set(range(len(people))), set(range(len(boxes)))
    while free_rows:
        row, column = max(
            ((r, c) for r in free_rows for c in free_columns), key=lambda pair: overlap[pair]
        )
        result[column] = row
        free_rows.remove(row)
        free_columns.remove(column)
    return result


@pytest.mark.parametrize("count", [0, 1, 5])
def test_matching_against_loops(defaults, count):
    generator = torch.Generator().manual_seed(count)
    some = defaults[torch.randperm(len(defaults), generator=generator)[:400]]
    people = random_people(generator, count)
    found = match_defaults(people, some)
    if count == 0:
        assert (found == -1).all()
        return
    assert found.tolist() == match_by_loops(people.numpy(), corners(some).numpy())
    assert set(range(count)) <= set(found.tolist())


def loss_by_loops(output, defaults, people, ignored):
    boxes = corners(defaults).numpy()
    class_loss = box_loss = 0.0
    matched_in_all = 0
    for image in range(len(people)):
        person = (
            match_by_loops(people[image].numpy(), boxes)
            if len(people[image])
            else [-1] * len(boxes)
        )
        logits, offsets = output.classes[image].tolist(), output.offsets[image].tolist()
        negatives, matched = [], 0
        for a, owner in enumerate(person):
            background, is_person = logits[a]
            log_sum = math.log(math.exp(background) + math.exp(is_person))
            if owner >= 0:
                matched += 1
                class_loss += log_sum - is_person
                goal = encode(people[image][owner], defaults[a]).tolist()
                for value, wanted in zip(offsets[a], goal, strict=True):
                    error = abs(value - wanted)
                    box_loss += 0.5 * error**2 if error < 1 else error - 0.5
            else:
                x, y = defaults[a, :2].tolist()
                if not any(
                    x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in ignored[image].tolist()
                ):
                    negatives.append(log_sum - background)
        class_loss += sum(sorted(negatives, reverse=True)[: 3 * max(matched, 1)])
        matched_in_all += matched
    return class_loss / max(matched_in_all, 1), box_loss / max(matched_in_all, 1)


def test_loss_against_loops(defaults):
    generator = torch.Generator().manual_seed(3)
    some = defaults[torch.randperm(len(defaults), generator=generator)[:300]]
    output = SsdOutput(
        torch.randn(3, 300, 4, generator=generator), torch.randn(3, 300, 2, generator=generator)
    )
    people = [random_people(generator, count) for count in (3, 0, 6)]
    ignored = [torch.tensor([[0.2, 0.2, 0.7, 0.9]]), torch.zeros(0, 4), torch.zeros(0, 4)]
    parts = ssd_loss(output, some, people, ignored)
    class_loss, box_loss = loss_by_loops(output, some, people, ignored)
    assert parts["class"].item() == pytest.approx(class_loss, rel=1e-4)
    assert parts["box"].item() == pytest.approx(box_loss, rel=1e-4)


def test_nobody_teaches_background_only(defaults):
    output = SsdOutput(torch.zeros(1, len(defaults), 4), torch.zeros(1, len(defaults), 2))
    parts = ssd_loss(output, defaults, [torch.zeros(0, 4)], [torch.zeros(0, 4)])
    assert parts["box"].item() == 0
    assert parts["class"].item() == pytest.approx(3 * math.log(2), rel=1e-5)


def test_patches_lie_inside_and_hold_somebody():
    generator = torch.Generator().manual_seed(0)
    people = torch.tensor([[0.1, 0.2, 0.3, 0.8], [0.6, 0.1, 0.9, 0.7]])
    middles = (people[:, :2] + people[:, 2:]) / 2
    patches = torch.stack([sample_patch(people, generator) for _ in range(300)])
    assert (patches >= 0).all()
    assert (patches <= 1 + 1e-6).all()
    sides = patches[:, 2:] - patches[:, :2]
    ratio = sides[:, 0] / sides[:, 1]
    assert ratio.min() >= 0.5 - 1e-5
    assert ratio.max() <= 2 + 1e-5
    holds = (
        ((middles > patches[:, None, :2]) & (middles < patches[:, None, 2:])).all(dim=-1).any(dim=1)
    )
    assert holds.all()
    assert (sides < 0.99).any(dim=1).float().mean() > 0.5  # most are real crops
    assert sample_patch(torch.zeros(0, 4), generator).tolist() == [0, 0, 1, 1]


def test_zooming_out_shows_the_whole_photo_on_a_canvas():
    generator = torch.Generator().manual_seed(1)
    canvases = torch.stack([zoom_out(generator) for _ in range(300)])
    sides = canvases[:, 2:] - canvases[:, :2]
    assert torch.allclose(sides[:, 0], sides[:, 1])
    assert sides.min() >= 1 and sides.max() <= 4
    assert sides.max() > 3.8  # up to 16 times the area
    assert (canvases[:, :2] <= 0).all() and (canvases[:, 2:] >= 1 - 1e-5).all()


@pytest.mark.parametrize(("zoom", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.3, 0.6), (1.0, 0.7, 1)])
def test_zoomed_out_patches_reach_beyond_the_photo(zoom, low, high):
    """Patches hold the middle of a person whether the photo is zoomed out or not."""
    generator = torch.Generator().manual_seed(2)
    person = torch.tensor([[0.3, 0.2, 0.6, 0.8]])
    patches = torch.stack([patch_of(person, zoom, generator) for _ in range(300)])
    beyond = ((patches < -1e-5) | (patches > 1 + 1e-5)).any(dim=1).float().mean()
    assert low <= beyond <= high
    middle = torch.tensor([0.45, 0.5])
    assert ((patches[:, :2] < middle) & (patches[:, 2:] > middle)).all()
    nobody = torch.stack([patch_of(torch.zeros(0, 4), zoom, generator) for _ in range(20)])
    assert (nobody[:, 2:] > nobody[:, :2]).all()


def test_zooming_out_moves_people_with_the_photo():
    """A photo of one bright person: wherever the patch puts it, its box is where it is bright."""
    pixels = torch.full((6, 64, 64, 3), 30, dtype=torch.uint8)
    pixels[:, 16:48, 20:44] = 250
    box = torch.tensor([[20.0, 16.0, 44.0, 48.0]]).expand(6, 1, 4)
    photos = PhotoBatch(pixels, torch.full((6, 2), 64.0), box, torch.ones(6, 1, dtype=torch.uint8))
    how = PhotoAugmentation((96, 96), color=0.0, zoom_out=1.0)
    images, targets = draw_patches(photos, how, torch.Generator().manual_seed(0))
    smallest = 1.0
    for image, (x1, y1, x2, y2) in zip(images, targets.people[:, 0].tolist(), strict=True):
        rows, columns = torch.nonzero(image[0] > 180, as_tuple=True)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, [x1, y1, x2, y2], atol=1.6)
        smallest = min(smallest, (x2 - x1) / 96)
    assert smallest < 24 / 64  # smaller than on the photo itself


def test_batched_equals_single():
    torch.manual_seed(0)
    net = Ssd512(width=NARROW).eval()
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        together = net.detect(images)
        alone = net.detect(images[1:])
    assert together.boxes.shape == (2, 24_564, 4)
    np.testing.assert_allclose(together.boxes[1:], alone.boxes, atol=1e-3)
    np.testing.assert_allclose(together.logits[1:], alone.logits, atol=1e-4)


def test_export_equals_torch_and_detects(tmp_path):
    import onnxruntime

    from rmpe.detect import DecodedDetector, load_detector
    from rmpe.export import export_checkpoint
    from rmpe.nets.checkpoint import save_checkpoint

    torch.manual_seed(0)
    net = Ssd512(width=NARROW)
    checkpoint = tmp_path / "ssd.safetensors"
    save_checkpoint(
        checkpoint, net, {"model": {"name": "ssd512", "width": NARROW}, "size": [SIZE, SIZE]}
    )
    (path,) = export_checkpoint(checkpoint, tmp_path / "out")
    images = torch.randn(3, 3, SIZE, SIZE)
    boxes, scores = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = net.eval().detect(images)
    np.testing.assert_allclose(boxes / SIZE, expected.boxes / SIZE, atol=1e-4)
    np.testing.assert_allclose(scores, expected.logits.sigmoid(), atol=1e-4)
    detector = load_detector(path)
    assert isinstance(detector, DecodedDetector)
    found = detector(np.zeros((40, 60, 3), np.uint8))
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [60, 40, 60, 40]).all()


FILTERS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
PLACES = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


def vgg_state(prefix):
    """Random tensors with torchvision's names; fully connected layers are views without memory."""
    state, inputs = {}, 3
    for place, outputs in zip(PLACES, FILTERS, strict=True):
        state[f"{prefix}{place}.weight"] = torch.randn(outputs, inputs, 3, 3) * 0.01
        state[f"{prefix}{place}.bias"] = torch.randn(outputs) * 0.01
        inputs = outputs
    return state


def test_torchvision_vgg16_fills_the_trunk():
    torch.manual_seed(0)
    state = vgg_state("features.")
    fc6, fc7 = torch.randn(4096, 1).expand(4096, 512 * 49), torch.randn(4096, 1).expand(4096, 4096)
    state |= {"classifier.0.weight": fc6, "classifier.0.bias": torch.arange(4096.0)}
    state |= {
        "classifier.3.weight": fc7,
        "classifier.3.bias": torch.arange(4096.0),
        "classifier.6.bias": torch.ones(9),
    }
    net = Ssd512()
    report = load_published(net, state)
    assert report.layout == "torchvision VGG-16"
    assert len(report.loaded) == 2 * 15
    assert report.unused == ("classifier.6.bias",)
    assert "norm.weight" in report.missing
    assert "left random: norm.weight" in str(report)
    assert net.fc[0].bias.tolist() == list(range(0, 4096, 4))
    np.testing.assert_allclose(net.fc[0].weight[:, 0, 0, 0].detach(), fc6[::4, 0])
    np.testing.assert_allclose(net.fc[2].weight[:, 5, 0, 0].detach(), fc7[::4, 0])
    # The first convolution answers our pixels as it answered torchvision's.
    pixels = torch.rand(1, 3, 8, 8) * 255
    mean, sd = (
        torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    theirs = torch.conv2d(
        (pixels / 255 - mean) / sd, state["features.0.weight"], state["features.0.bias"]
    )
    ours = torch.conv2d((pixels - 127) / 128, net.stages[0][0].weight, net.stages[0][0].bias)
    np.testing.assert_allclose(ours.detach(), theirs, atol=1e-4)


def test_ssd_weights_of_many_classes_are_cut_to_person():
    torch.manual_seed(0)
    net = Ssd512()
    own, classes, person = net.state_dict(), 21, 15
    state = {**vgg_state("vgg."), "L2Norm.weight": torch.rand(512)}
    for place, name in ((31, "fc.0"), (33, "fc.2")):
        state |= {
            f"vgg.{place}.{kind}": torch.randn_like(own[f"{name}.{kind}"])
            for kind in ("weight", "bias")
        }
    for number in range(10):
        name = f"extras.{number // 2}.{2 * (number % 2)}"
        state |= {
            f"extras.{number}.{kind}": torch.randn_like(own[f"{name}.{kind}"])
            for kind in ("weight", "bias")
        }
    for level in range(7):
        for kind in ("weight", "bias"):
            state[f"loc.{level}.{kind}"] = torch.randn_like(own[f"box_heads.{level}.{kind}"])
            shape = own[f"class_heads.{level}.{kind}"].shape
            state[f"conf.{level}.{kind}"] = torch.randn(shape[0] // 2 * classes, *shape[1:])
    report = load_published(net, state, person=person)
    assert (report.layout, report.missing, report.unused) == ("ssd.pytorch", (), ())
    heads = state["conf.1.weight"].reshape(6, classes, *state["conf.1.weight"].shape[1:])
    ours = net.class_heads[1].weight.detach().reshape(6, 2, *heads.shape[2:])
    np.testing.assert_array_equal(ours[:, 0], heads[:, 0])
    np.testing.assert_array_equal(ours[:, 1], heads[:, person])
    np.testing.assert_array_equal(net.extras[4][2].weight.detach(), state["extras.9.weight"])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "unknown layout"),
        ({"backbone.0.weight": torch.zeros(1)}, "unknown layout"),
        ({"features.0.weight": torch.zeros(8, 3, 3, 3)}, r"features\.0\.weight is \(8, 3, 3, 3\)"),
    ],
)
def test_unusable_weights_are_named(state, words):
    with pytest.raises(ModelError, match=words):
        load_published(Ssd512(), state)


@pytest.mark.slow
def test_two_photos_are_learnt_by_heart(data_root):
    """At quarter width, on the CPU, exactly the people of two photos are found at IoU 0.5."""
    from rmpe.boxes import Boxes, box_nms
    from rmpe.datasets.packed import read_rgb
    from rmpe.detect.letterbox import letterbox
    from rmpe.training.detector.photos import read_photos

    torch.manual_seed(0)
    folder = data_root / "data" / "coco-train"
    photos = read_photos(folder / "annotations.json", folder / "images", complete=True)
    large = [
        p
        for p in photos
        if 1 <= len(p.people) <= 3 and not p.maybe_crowds.any() and not len(p.crowds)
    ]
    large = [p for p in large if (Boxes(p.people).areas > 80**2).all()][:2]
    images, people = [], []
    for photo in large:
        canvas, scale = letterbox(read_rgb(photo.path), (SIZE, SIZE))
        images.append((torch.from_numpy(canvas).permute(2, 0, 1).float() - 127) / 128)
        people.append(torch.from_numpy(photo.people * scale / SIZE))
    images = torch.stack(images)
    net = Ssd512(width=0.25)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
    nothing = [torch.zeros(0, 4)] * 2
    for _ in range(60):
        loss = sum(ssd_loss(net(images), net.defaults, people, nothing).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = net.eval().detect(images)
    for boxes, logits, wanted in zip(found.boxes, found.logits, people, strict=True):
        sure = logits.sigmoid() > 0.5
        kept = Boxes(boxes[sure].numpy(), logits[sure].sigmoid().numpy())
        kept = kept[box_nms(kept, 0.45)]
        overlap = iou(wanted.numpy() * SIZE, kept.xyxy)
        assert len(kept) == len(wanted)  # with every person found, AP50 is 1.0
        assert (overlap.max(axis=1) > 0.5).all()
