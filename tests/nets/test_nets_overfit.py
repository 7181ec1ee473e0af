"""Every net can overfit sixteen people: real crops, on the CPU, to PCK 100 %."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from rmpe import affine
from rmpe.boxes import Boxes
from rmpe.datasets.coco import read_coco
from rmpe.estimate.crops import cut
from rmpe.export import InCrop
from rmpe.media.images import read_image
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.decoding import decode_heatmaps
from rmpe.nets.hourglass import StackedHourglass
from rmpe.nets.lite import LiteSppe
from rmpe.nets.localisation import EarlyLocalisation
from rmpe.nets.parallel_sppe import SstnSppe
from rmpe.nets.sstn import theta_loss
from rmpe.skeletons import load_skeleton
from rmpe.training.pose.losses import gaussian_targets, heatmap_loss

PEOPLE = 16
CORRECT = 0.05  # of the crop's height


def people(data_root):
    """The first sixteen large people of coco-train with at least twelve labelled joints."""
    folder = data_root / "data" / "coco-train"
    everybody = read_coco(folder / "annotations.json", folder / "images", load_skeleton("coco17"))
    tall = everybody.boxes[:, 3] - everybody.boxes[:, 1] > 120
    return everybody[np.flatnonzero(tall & ((everybody.visibility > 0).sum(axis=1) >= 12))[:PEOPLE]]


def crops(persons, boxes, size):
    """Images (N, 3, H, W), keypoints (N, K, 2), image_to_crop (N, 2, 3) of grown boxes."""
    maps = affine.boxes_to_crops(Boxes(boxes).grow(1.3).xyxy, size, "center")
    photos = [read_image(persons.images[index]) for index in persons.image_index]
    pictures = np.concatenate(
        [cut(photo, one[None], size) for photo, one in zip(photos, maps, strict=True)]
    )
    images = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_SD
    return images, torch.from_numpy(affine.apply(maps, persons.keypoints)).float(), maps


def inside(keypoints, size):
    """Labelled and in the crop: a joint outside has no cell."""
    return ((keypoints > -0.5) & (keypoints < torch.tensor(size[::-1]) - 0.5)).all(dim=-1)


def pck(found, keypoints, visible, size):
    right = (found - keypoints).norm(dim=-1) < CORRECT * size[0]
    return right[visible].float().mean().item()


def learn(net, loss, steps, rate):
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def pose_loss(heatmaps, keypoints, visible, size):
    cells = (heatmaps[-1].shape[2], heatmaps[-1].shape[3])
    targets = gaussian_targets(keypoints.nan_to_num(), size, cells, sigma=1.0)
    return heatmap_loss(heatmaps, targets, visible.float(), 1.0, visible.sum())


@pytest.mark.slow
def test_one_narrow_hourglass_learns_sixteen_people(data_root):
    torch.manual_seed(0)
    persons, size = people(data_root), (64, 64)
    images, keypoints, _ = crops(persons, persons.boxes, size)
    visible = inside(keypoints, size)
    assert visible.sum() > 220
    net = StackedHourglass(17, stacks=1, channels=64, depth=2)
    learn(net, lambda: pose_loss(net(images), keypoints, visible, size), steps=400, rate=5e-3)
    with torch.no_grad():
        found, _ = decode_heatmaps(net(images)[-1], size)
    assert pck(found, keypoints, visible, size) == 1


@pytest.mark.slow
def test_lite_with_sstn_learns_sixteen_people_in_sloppy_boxes(data_root):
    """Main loss after the SDTN plus theta loss; measured in the proposal's crop, as exported."""
    torch.manual_seed(0)
    persons, size = people(data_root), (96, 72)
    sides = np.tile(persons.boxes[:, 2:] - persons.boxes[:, :2], 2)
    shifts = np.random.default_rng(0).uniform(-0.2, 0.2, (PEOPLE, 4))
    images, keypoints, disturbed = crops(
        persons, (persons.boxes + shifts * sides).astype(np.float32), size
    )
    _, in_true_crop, centred = crops(persons, persons.boxes, size)
    to_normalised, to_pixels = affine.pixels_to_normalised(size), affine.normalised_to_pixels(size)
    theta = affine.compose(
        to_normalised, affine.compose(disturbed, affine.compose(affine.invert(centred), to_pixels))
    )
    theta, visible = (
        torch.from_numpy(theta).float(),
        inside(keypoints, size) & inside(in_true_crop, size),
    )
    assert visible.sum() > 200

    sppe = LiteSppe(17, pretrained=True)
    net = SstnSppe(sppe, EarlyLocalisation(sppe, size))

    def loss():
        output = net(images)
        return pose_loss(output.heatmaps, keypoints, visible, size) + 10 * theta_loss(
            output.theta, theta
        )

    learn(net, loss, steps=240, rate=1.5e-3)
    with torch.no_grad():
        found, _ = InCrop(net)(images)
        guess = net.localisation(images)
    assert pck(found, keypoints, visible, size) == 1
    undone = (guess - theta).abs().mean() / (torch.eye(2, 3) - theta).abs().mean()
    assert undone < 0.25  # the STN found most of the way back to the true box
