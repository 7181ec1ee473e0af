"""Detector training: shipped configurations, learning, resuming, export."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from conftest import ROOT

from rmpe.cli.train import train
from rmpe.config import load_config
from rmpe.errors import DataError, ModelError
from rmpe.media.images import save_image
from rmpe.nets.checkpoint import load_checkpoint
from rmpe.nets.detectors.person_detector import PersonDetector
from rmpe.training.detector.fit import DetectorConfig
from rmpe.training.detector.hints import DetectorHintsConfig, missed_variance
from rmpe.training.detector.photos import PhotoSetConfig
from rmpe.training.loop import Trainer

CONFIGS = sorted(
    path for path in (ROOT / "configs").glob("*.toml") if "[photos]" in path.read_text("utf-8")
)


@pytest.fixture(scope="module")
def photo_set(tmp_path_factory):
    """Six photos of grey noise with one person each, a bright rectangle."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(6):
        pixels = rng.integers(60, 120, (64, 64, 3)).astype(np.uint8)
        x, y = 4 + 5 * index, 3 + 2 * index
        pixels[y : y + 40, x : x + 24] = (240, 200, 40)
        save_image(folder / f"{index}.png", pixels)
        images.append({"id": index, "file_name": f"{index}.png", "height": 64, "width": 64})
        person = {
            "id": index + 1,
            "image_id": index,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [x, y, 24, 40],
            "area": 960,
        }
        annotations.append(person)
    file = folder / "annotations.json"
    categories = [{"id": 1, "name": "person"}]
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return file, folder


def small(folder, photo_set, **changes):
    """A short configuration as TOML."""
    lines = [
        f'run = "{folder / "run"}"',
        "batch = 4",
        'device = "cpu"',
        "threads = 1",
        "last_share = 0.0",
    ]
    lines += [f"{key} = {json.dumps(value)}" for key, value in changes.items()]
    lines += ["[model]", 'name = "person_detector"', "width = 16", "depth = 1"]
    lines += ["[photos]", f'cache = "{folder / "cache"}"', "side = 64", "[[photos.sets]]"]
    lines += [f'annotations = "{photo_set[0]}"', f'images = "{photo_set[1]}"']
    lines += [
        "[augment]",
        "size = [64, 64]",
        "mosaic = 0.5",
        "[last]",
        "size = [64, 64]",
        "[optim]",
        "warmup = 5",
    ]
    folder.mkdir(exist_ok=True)
    path = folder / "config.toml"
    path.write_text("\n".join(lines))
    return path


def silent(line):
    pass


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_trains_two_steps(path, tmp_path, photo_set, monkeypatch):
    """Each configuration with its own net, loss and rates; data and sizes are small."""
    monkeypatch.chdir(ROOT)
    config = load_config(DetectorConfig, path)
    narrow = {"person_detector": {"pretrained": False, "width": 16}, "ssd512": {"width": 1 / 32}}[
        config.model["name"]
    ]
    sizes = {"person_detector": (64, 64), "ssd512": (512, 512)}[config.model["name"]]
    photos = replace(
        config.photos, sets=(PhotoSetConfig(*photo_set),), cache=tmp_path, side=64, labeller=None
    )
    changes = {
        "augment": replace(config.augment, size=sizes),
        "last": replace(config.last, size=sizes),
    }
    changes |= {
        "run": tmp_path / "run",
        "photos": photos,
        "model": config.model | narrow,
        "steps": 2,
        "batch": 2,
    }
    changes |= {"device": "cpu", "threads": 1, "validate": None}
    changes |= {"teacher": None, "hints": DetectorHintsConfig()}
    if config.start is not None:
        first = changes | {
            "run": tmp_path / "first",
            "start": None,
            "precision": "float32",
            "freeze": (),
        }
        changes["start"] = Trainer(replace(config, **first), silent).fit()
    run = Trainer(replace(config, **changes), silent)
    before = {name: value.clone() for name, value in run.net.named_parameters()}
    net, saved = load_checkpoint(run.fit())
    assert saved["steps"] == 2
    assert type(net) is type(run.net)
    moved = {
        name for name, value in run.net.named_parameters() if not torch.equal(value, before[name])
    }
    assert moved
    assert not any(
        name.startswith(tuple(f"{module}." for module in config.freeze)) for name in moved
    )


@pytest.mark.slow
def test_a_teacher_joins_in(tmp_path, photo_set, data_root):
    file = small(
        tmp_path / "one", photo_set, steps=1, teacher=str(data_root / "models" / "yolox_nano.onnx")
    )
    parts = Trainer(load_config(DetectorConfig, file), silent).update()
    assert {"score", "box", "teacher_score", "teacher_box"} <= set(parts)
    assert all(np.isfinite(value) for value in parts.values())


YOLOX_HINTS = (
    'hints.tensors=[["1408", "1435", "1462"], ["1420", "1447", "1474"], ["1432", "1459", "1486"]]'
)


@pytest.mark.slow
def test_a_teachers_features_are_learned(tmp_path, photo_set, data_root):
    teacher = data_root / "models" / "yolox_nano.onnx"
    file = small(tmp_path, photo_set, steps=30, teacher=str(teacher))
    run = Trainer(load_config(DetectorConfig, file, [YOLOX_HINTS]), silent)
    first = run.update()["hints"]
    run.fit()
    assert 0 < run.update()["hints"] < 0.9 * first <= 1
    wrong = YOLOX_HINTS.replace('"1408", "1435"', '"1435", "1408"')
    with pytest.raises(ModelError, match="list 1: the teacher's are"):
        Trainer(load_config(DetectorConfig, file, [wrong]), silent).update()


def test_a_hint_is_missed_by_what_no_linear_map_gives():
    torch.manual_seed(0)
    features = torch.randn(4, 8, 16, 16)
    linear = torch.einsum("dc,bchw->bdhw", torch.randn(5, 8), features) + 3
    noise = torch.randn(4, 5, 16, 16)
    assert missed_variance(features, linear) < 1e-3
    assert missed_variance(features, noise) == pytest.approx(1, abs=0.05)
    mixed = linear / linear.std(dim=(0, 2, 3), keepdim=True) + noise
    assert missed_variance(features, mixed) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("override", "said"),
    [("augment.size=[300, 300]", "multiples of 32"), ("photos.sets=[]", "at least one set")],
)
def test_what_cannot_be_trained_is_refused(override, said, tmp_path, photo_set):
    with pytest.raises(DataError, match=said):
        load_config(DetectorConfig, small(tmp_path, photo_set, steps=1), [override])


def test_hints_need_a_teacher_and_nine_names(tmp_path, photo_set):
    file = small(tmp_path, photo_set, steps=1)
    with pytest.raises(DataError, match="hints need a teacher"):
        load_config(DetectorConfig, file, [YOLOX_HINTS])
    with pytest.raises(DataError, match="a list for each of pyramid, score heads, box heads"):
        load_config(DetectorConfig, file, ['hints.tensors=[["1408"]]', "teacher=t.onnx"])


def test_a_checkpoint_is_gone_on_from(tmp_path, photo_set):
    first = Trainer(
        load_config(DetectorConfig, small(tmp_path / "first", photo_set, steps=1)), silent
    )
    start = first.fit()
    second = load_config(
        DetectorConfig,
        small(tmp_path / "second", photo_set, steps=1, start=str(start)),
        ["model.depth=2"],
    )
    run = Trainer(second, silent)
    saved, described = load_checkpoint(start)
    for one, other in zip(saved.state_dict().values(), run.net.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert (
        run.task.describe()["model"] == described["model"]
    )  # the checkpoint's own arguments count
    with pytest.raises(ModelError, match="its net is person_detector, not ssd512"):
        Trainer(replace(second, model={"name": "ssd512"}), silent)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_filters_by_depth_stay_in_float32(precision):
    net = PersonDetector(width=16, depth=1).train()
    kinds = {}

    def note(name):
        def hook(_module, _inputs, out):
            kinds[name] = out.dtype

        return hook

    for name, module in net.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups > 1:
            module.register_forward_hook(note(name))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        net(torch.rand(2, 3, 64, 64))
    assert any(name.startswith("score_heads") for name in kinds)
    assert any(name.startswith("down") for name in kinds)
    assert set(kinds.values()) == {torch.float32}


def test_resuming_gives_the_same_weights(tmp_path, photo_set):
    straight = Trainer(
        load_config(DetectorConfig, small(tmp_path / "straight", photo_set, steps=4)), silent
    )
    straight.fit()
    config = load_config(DetectorConfig, small(tmp_path / "broken", photo_set, steps=4))
    first = Trainer(config, silent)
    config.run.mkdir()
    first.update()
    first.update()
    first.save()
    second = Trainer(config, silent)
    second.resume()
    second.fit()
    for one, other in zip(
        straight.net.state_dict().values(), second.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_a_bright_rectangle_is_learnt_and_found_by_the_exported_model(tmp_path, photo_set):
    from rmpe.boxes import iou
    from rmpe.detect import load_detector
    from rmpe.export import export_checkpoint
    from rmpe.media.images import read_image

    file = small(tmp_path / "learn", photo_set, steps=120)
    with file.open("a") as text:
        text.write(
            f'\nlr = 3e-3\n[validate]\nannotations = "{photo_set[0]}"\nimages = "{photo_set[1]}"\n'
        )
    run = Trainer(load_config(DetectorConfig, file), silent)
    checkpoint = run.fit()
    assert run.validate()["AP50"] > 0.9
    (model,) = export_checkpoint(checkpoint, tmp_path / "out")
    found = load_detector(model)(read_image(photo_set[1] / "2.png"))
    assert iou(found.xyxy[:1], np.array([[14, 7, 38, 47]], np.float32))[0, 0] > 0.5


def test_the_command_tells_detectors_by_their_photos(tmp_path, photo_set):
    result = CliRunner().invoke(
        train, [str(small(tmp_path / "cli", photo_set, steps=1))], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "6 photos, 6 people, 0 ignored regions" in result.output
    assert (
        load_checkpoint(tmp_path / "cli" / "run" / "model.safetensors")[1]["model"]["name"]
        == "person_detector"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.name=ssd512", "a teacher needs the net person_detector"),
        ("weights=vgg.pth", "weights = FILE is for ssd512"),
        ("photos.sides=3", "did you mean 'side'"),
    ],
)
def test_contradictions_are_told(change, words, tmp_path, photo_set):
    file = small(tmp_path / "wrong", photo_set, steps=1, teacher="teacher.onnx")
    with pytest.raises(DataError, match=words):
        load_config(DetectorConfig, file, [change])


def test_samples_show_the_boxes_that_are_learnt(tmp_path, photo_set):
    run = Trainer(load_config(DetectorConfig, small(tmp_path, photo_set, steps=2)), silent)
    batch = run.batch(0)
    pictures = run.task.pictures(batch)
    plain = batch.images.clamp(0, 255).permute(0, 2, 3, 1).numpy()
    drawn = [
        (np.abs(one.astype(float) - other) > 20).any()
        for one, other in zip(pictures, plain, strict=True)
    ]
    assert drawn == batch.targets.real.any(dim=1).tolist()
    assert run.fit().is_file()
    assert (tmp_path / "run" / "samples.png").is_file()


def test_incomplete_photos_need_a_labeller(tmp_path, photo_set):
    file = small(tmp_path / "wrong", photo_set, steps=1)
    file.write_text(file.read_text().replace("[augment]", "complete = false\n[augment]"))
    with pytest.raises(DataError, match="needs a labeller"):
        load_config(DetectorConfig, file)
