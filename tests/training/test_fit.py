"""The training loop: shipped configurations, exact resuming, several processes, bad losses."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from conftest import ROOT
from small_set import write_set
from tiny_models import spot_pose_model

from rmpe.cli.train import train
from rmpe.config import load_config
from rmpe.errors import DataError, ModelError, RmpeError
from rmpe.estimate.crops import cut
from rmpe.estimate.pose_model import load_pose_model
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.checkpoint import load_checkpoint
from rmpe.nets.high_resolution import HighResolutionSppe
from rmpe.skeletons import load_skeleton
from rmpe.training.optim import MovingAverage, OptimConfig, learning_rate, make_optimizer
from rmpe.training.pose.fit import TrainConfig, Trainer
from rmpe.training.pose.hints import Hinted, HintsConfig, hint_loss

CONFIGS = [
    path
    for path in sorted((ROOT / "configs").glob("*.toml"))
    if "[[data.sets]]" in path.read_text("utf-8")
]

NARROW = {
    "hourglass": {"channels": 32},
    "lite": {"pretrained": False},
    "high_resolution": {"widths": [8, 8, 8, 8]},
}
FIRST_STAGES = {
    "high_resolution_joint": "high_resolution_spans.toml",
    "high_resolution_varied": "high_resolution_joint.toml",
    "high_resolution_larger": "high_resolution_varied.toml",
    "high_resolution_spans": "high_resolution_apart.toml",
    "crowds_gate": "lite_cpu.toml",
    "hourglass_coco_stage2": "hourglass_coco_stage1.toml",
    "hourglass_mpii_stage2": "hourglass_mpii_stage1.toml",
    "lite_cpu_actions": "lite_cpu_sibling.toml",
    "lite_cpu_distill": "lite_cpu_fine.toml",
    "lite_cpu_fine": "lite_cpu.toml",
    "lite_cpu_sstn": "lite_cpu.toml",
    "lite_cpu_stn": "proof_stage1.toml",
    "lite_cpu_views": "lite_cpu_distill.toml",
    "lite_cpu_longer": "lite_cpu_views.toml",
    "lite_cpu_sibling": "lite_cpu_longer.toml",
    "proof_stage2": "proof_stage1.toml",
    "table3_sppe": "lite_cpu_longer.toml",
    "table3_sstn": "lite_cpu_longer.toml",
}


@pytest.fixture(scope="module")
def coco_set(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("coco"), load_skeleton("coco17"), images=4)


def small(folder: Path, coco_set, stage2: Path | None = None, **changes) -> Path:
    """A configuration for a tiny net on the tiny set."""
    annotations, images = coco_set
    lines = {
        "run": f'"{folder / "run"}"', "steps": "4", "batch": "4", "device": '"cpu"',
        "threads": "1", "sigma": "1.0",
        "model": '{ name = "hourglass", stacks = 1, channels = 16, depth = 2 }',
        "data": f'{{ size = [64, 48], cache = "{folder / "cache"}", '
        f'sets = [{{ annotations = "{annotations}", images = "{images}" }}] }}',
    }  # fmt: skip
    if stage2:
        lines |= {
            "stage": "2",
            "start": f'"{stage2}"',
            "sstn": '{ localisation = { name = "tiny_localisation" } }',
        }
    lines |= {key: str(value) for key, value in changes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.toml"
    file.write_text("\n".join(f"{key} = {value}" for key, value in lines.items()) + "\n")
    return file


def trainer(file: Path, *overrides: str) -> Trainer:
    return Trainer(load_config(TrainConfig, file, overrides), lambda line: None)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_trains_two_steps(path, tmp_path, coco_set, monkeypatch):
    """Each configuration with its own nets, losses and policies; data and sizes are small."""
    monkeypatch.chdir(ROOT)
    config = load_config(TrainConfig, path)
    skeleton = config.data.skeleton
    annotations, images = (
        coco_set if skeleton == "coco17" else write_set(tmp_path, load_skeleton(skeleton))
    )
    one = replace(
        config.data.sets[0],
        format="coco",
        skeleton=skeleton,
        annotations=annotations,
        images=images,
    )
    data = replace(
        config.data,
        sets=(one,),
        cache=tmp_path / "cache",
        size=(64, 64),
        teacher=None,
        smallest_unlabelled=0.0,
    )
    augment = config.augment
    if augment.policy.startswith("mpii/"):  # learned by the user, from the detector's boxes
        augment = replace(augment, policy="configs/pgpg_yolox_nano.toml")
    changes = {
        "run": tmp_path / "run", "data": data, "augment": augment,
        "steps": 2, "batch": 2, "device": "cpu",
        "precision": "float32", "small_size": (64, 64), "threads": 1, "distill": 0.0,
        "teacher_view": "stored", "workers": 0, "hints": HintsConfig(),
    }  # fmt: skip
    narrow = NARROW[config.model["name"]]
    changes["model"] = config.model | narrow
    if config.validate:
        changes["validate"] = replace(
            config.validate, annotations=annotations, images=images, only=None
        )
    if config.start is not None:
        first = load_config(TrainConfig, path.with_name(FIRST_STAGES[path.stem]))
        first = replace(
            first, **(changes | {"run": tmp_path / "first", "validate": None, "start": None})
        )
        narrow = NARROW[first.model["name"]]
        changes["start"] = Trainer(
            replace(first, model=first.model | narrow), lambda line: None
        ).fit()
    run = Trainer(replace(config, **changes), lambda line: None)
    before = {
        name: value.clone() for name, value in run.net.named_parameters() if value.requires_grad
    }
    net, saved = load_checkpoint(run.fit())
    assert saved["steps"] == 2
    assert any(
        not torch.equal(value, before[name])
        for name, value in run.net.named_parameters()
        if name in before
    )
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_resume_is_exact_to_the_bit(tmp_path, coco_set):
    once = small(tmp_path / "once", coco_set, steps=20)
    twice = small(tmp_path / "twice", coco_set, steps=20)
    trainer(once).fit()
    first = trainer(twice)
    for _ in range(10):
        first.update()
    first.config.run.mkdir()
    first.save()
    second = trainer(twice)
    second.resume()
    assert second.step == 10
    second.fit()
    a, b = (
        torch.load(tmp_path / name / "run/state.pt", weights_only=True)
        for name in ("once", "twice")
    )
    assert a["step"] == b["step"] == 20
    for part in ("net", "average", "optimizer"):
        assert same(a[part], b[part]), part


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_others_joints_count_only_with_interference(tmp_path, coco_set):
    states = []
    for name, more in (
        ("without", {}),
        ("zero", {"interference": 0}),
        ("half", {"interference": 0.5}),
    ):
        run = trainer(small(tmp_path / name, coco_set, **more))
        run.fit()
        states.append(dict(run.net.state_dict()))
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


def test_interference_resumes_to_the_bit_with_batches_from_another_process(tmp_path, coco_set):
    whole = small(tmp_path / "whole", coco_set, interference=0.5)
    parts = small(tmp_path / "parts", coco_set, interference=0.5, workers=1)
    trainer(whole).fit()
    first = trainer(parts, "workers=0")
    first.update()
    first.config.run.mkdir()
    first.save()
    second = trainer(parts)
    second.resume()
    second.fit()
    a, b = (
        torch.load(tmp_path / name / "run/state.pt", weights_only=True)
        for name in ("whole", "parts")
    )
    assert same(a["net"], b["net"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interference": 1.0}, "interference = 1.0 must be at least 0 and below 1"),
        ({"interference": -0.1}, "interference = -0.1 must be"),
        ({"interference": 0.5, "stage": '"stn"'}, "interference is for stage 1 without distill"),
    ],
)
def test_refused_interference(tmp_path, coco_set, changes, message):
    with pytest.raises(DataError, match=message):
        trainer(small(tmp_path, coco_set, **changes))


def test_saving_changes_nothing(tmp_path, coco_set):
    run = trainer(small(tmp_path, coco_set))
    run.update()
    run.config.run.mkdir()
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    run.save()
    assert same(before, dict(run.net.state_dict()))
    saved, _ = load_checkpoint(run.config.run / "model.safetensors")
    assert same(dict(saved.state_dict()), run.average.state)


def test_resume_without_or_with_another_state(tmp_path, coco_set):
    file = small(tmp_path, coco_set)
    with pytest.raises(DataError, match="nothing to resume"):
        trainer(file).resume()
    trainer(file, "steps=1").fit()
    with pytest.raises(DataError, match="another net"):
        trainer(file, "model.channels=32").resume()


@pytest.mark.parametrize("sampling", ["crop", "composed"])
def test_stage_2_moves_main_branch_only(tmp_path, coco_set, sampling):
    start = trainer(small(tmp_path / "one", coco_set)).fit()
    run = trainer(
        small(tmp_path / "two", coco_set, start), "sstn.theta=1.0", f"sstn.sampling={sampling}"
    )
    frozen = {name: value.clone() for name, value in run.task.parallel.state_dict().items()}
    free = {name: value.clone() for name, value in run.net.state_dict().items()}
    parts = run.update()
    assert set(parts) == {"pose", "parallel", "theta", "lr"}
    assert same(frozen, dict(run.task.parallel.state_dict()))
    moved = {
        name for name, value in run.net.state_dict().items() if not torch.equal(value, free[name])
    }
    assert any(name.startswith("localisation") for name in moved)
    assert any(name.startswith("sppe") for name in moved)
    with pytest.raises(DataError, match="stage 2 needs start"):
        load_config(TrainConfig, small(tmp_path / "three", coco_set, stage=2))
    with pytest.raises(DataError, match="validate measures poses"):
        where = 'validate={ annotations="a.json", images="b" }'
        load_config(TrainConfig, small(tmp_path / "four", coco_set, stage='"stn"'), [where])


def test_the_parallel_sppe_may_be_another_net(tmp_path, coco_set):
    """As the authors have it: more stacks in the main net than in the frozen one beside it."""
    two = '{ name = "hourglass", stacks = 2, channels = 16, depth = 2 }'
    main = trainer(small(tmp_path / "main", coco_set, model=two)).fit()
    other = trainer(small(tmp_path / "other", coco_set)).fit()
    file = small(tmp_path / "joint", coco_set, main)
    run = trainer(file, f"sstn.parallel_start={other}")
    expected, _ = load_checkpoint(other)
    assert same(dict(run.task.parallel.sppe.state_dict()), dict(expected.state_dict()))
    batch = run.batch(0)
    assert len(run.net(batch.images).heatmaps) == 2
    assert len(run.task.parallel(batch.images)) == 1
    parts = run.update()
    assert 0 < parts["parallel"] < parts["pose"]  # one stack against two
    assert same(dict(run.task.parallel.sppe.state_dict()), dict(expected.state_dict()))
    saved, described = load_checkpoint(run.fit())
    assert described["model"]["sppe"]["stacks"] == 2
    assert not any(name.startswith("parallel") for name in saved.state_dict())
    with pytest.raises(DataError, match="parallel_start needs parallel"):
        load_config(TrainConfig, file, [f"sstn.parallel_start={other}", "sstn.parallel=0"])


def test_composed_stage_2_begins_as_in_the_crop_and_resumes_to_the_bit(tmp_path, coco_set):
    """Both samplings agree at the identity, the initial theta, and differ later."""
    start = trainer(small(tmp_path / "one", coco_set)).fit()
    once, twice, crop = (
        small(tmp_path / name, coco_set, start) for name in ("once", "twice", "crop")
    )
    composed = trainer(once, "sstn.sampling=composed")
    composed.config.run.mkdir()
    inside = trainer(crop, "sstn.sampling=crop")
    parts = [(composed.update(), inside.update()) for _ in range(4)]
    assert parts[0][0] == pytest.approx(parts[0][1], rel=1e-4)
    assert parts[3][0] != pytest.approx(parts[3][1], rel=1e-4)
    composed.save()
    first = trainer(twice, "sstn.sampling=composed")
    first.update(), first.update()
    first.config.run.mkdir()
    first.save()
    second = trainer(twice, "sstn.sampling=composed")
    second.resume()
    second.fit()
    a, b = (
        torch.load(tmp_path / name / "run/state.pt", weights_only=True)
        for name in ("once", "twice")
    )
    assert all(same(a[part], b[part]) for part in ("step", "net", "average", "optimizer"))


def test_frozen_modules_stay_as_they_are(tmp_path, coco_set):
    run = trainer(small(tmp_path, coco_set, freeze='["early"]', freeze_norms="true"))
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    run.update()
    after = run.net.state_dict()
    assert all(
        torch.equal(after[name], before[name]) for name in before if name.startswith("early")
    )
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name)
    with pytest.raises(DataError, match="no module 'erly'"):
        trainer(small(tmp_path, coco_set, freeze='["erly"]'))


def test_a_loss_that_is_not_finite_stops_with_the_batch_saved(tmp_path, coco_set):
    start = trainer(small(tmp_path / "one", coco_set)).fit()
    run = trainer(small(tmp_path, coco_set, start), "sstn.sampling=composed")
    run.config.run.mkdir()
    with torch.no_grad():
        run.net.sppe.heads[0].bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="loss of step 0 is not finite") as caught:
        run.update()
    path = Path(str(caught.value).rsplit(" ", 1)[-1])
    batch = torch.load(path, weights_only=True)["batch"]
    assert batch["images"].shape == (4, 3, 64, 48)
    assert batch["source"]["stored"].shape == (4, 3, 96, 72)


def test_progress_and_validation(tmp_path, coco_set):
    lines: list[str] = []
    annotations, images = coco_set
    validate = f'{{ annotations = "{annotations}", images = "{images}" }}'
    file = small(tmp_path, coco_set, log_every="0.0", validate=validate, tensorboard="true")
    Trainer(load_config(TrainConfig, file), lines.append).fit()
    assert any("step 3/4" in line and "people/s" in line and "min left" in line for line in lines)
    records = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert 0 <= records[-1]["validation_AP"] <= 1
    assert np.isfinite(records[0]["pose"])
    assert list((tmp_path / "run").glob("events.out.tfevents*"))


def test_command_line(tmp_path, coco_set):
    result = CliRunner().invoke(train, [str(small(tmp_path, coco_set)), "--set", "steps=2"])
    assert result.exit_code == 0, result.output
    assert "model.safetensors" in result.output
    again = CliRunner().invoke(train, [str(tmp_path / "config.toml"), "--resume"])
    assert again.exit_code == 0, again.output
    assert load_checkpoint(tmp_path / "run/model.safetensors")[1]["steps"] == 4
    wrong = CliRunner().invoke(train, [str(tmp_path / "config.toml"), "--set", "stepz=2"])
    assert isinstance(wrong.exception, RmpeError)
    assert "did you mean 'steps'" in str(wrong.exception)


def test_ones_own_skeleton_end_to_end(tmp_path):
    """docs/training.md, "Your own data": a skeleton file, COCO JSON, a run, a checkpoint."""
    skeleton = tmp_path / "glove.toml"
    skeleton.write_text(
        'name = "glove"\njoints = ["wrist", "left_tip", "right_tip"]\n'
        'limbs = [["wrist", "left_tip"], ["wrist", "right_tip"]]\nsigmas = [0.05, 0.05, 0.05]\n'
    )
    glove = load_skeleton(str(skeleton))
    annotations, images = write_set(tmp_path, glove, images=4)
    one = f'{{ annotations = "{annotations}", images = "{images}", skeleton = "{skeleton}" }}'
    data = (
        f'{{ size = [64, 48], skeleton = "{skeleton}", cache = "{tmp_path / "cache"}",'
        f" sets = [{one}] }}"
    )
    validate = f'{{ annotations = "{annotations}", images = "{images}" }}'
    optim = "{ lr = 5e-3, warmup = 5, ema = 0.9 }"
    augment = (
        '{ policy = "true", rotate = 0.0, scale = 0.0, half_body = 0.0, occlusion = 0.0,'
        " flip = 0.0, color = 0.0 }"
    )
    model = '{ name = "hourglass", stacks = 1, channels = 32, depth = 2 }'
    file = small(
        tmp_path,
        (annotations, images),
        data=data,
        validate=validate,
        optim=optim,
        augment=augment,
        model=model,
        steps=60,
        batch=8,
    )
    run = trainer(file)
    _net, saved = load_checkpoint(run.fit())
    assert saved["skeleton"] == str(skeleton)
    assert saved["model"]["joints"] == 3
    assert run.validate()["AP50"] > 0.5  # three dots of three colours, learnt by heart


def test_a_teachers_heatmaps_join_in(tmp_path):
    teacher = spot_pose_model(tmp_path)
    annotations, images = write_set(
        tmp_path / "set", load_skeleton(tmp_path / "rgb3.toml"), images=4
    )
    skeleton = tmp_path / "rgb3.toml"
    sets = f'[{{ annotations = "{annotations}", images = "{images}", skeleton = "{skeleton}" }}]'
    common = (
        f'size = [64, 48], cache = "{tmp_path / "cache"}", skeleton = "{skeleton}", sets = {sets}'
    )
    file = small(tmp_path, (annotations, images), data=f'{{ {common}, teacher = "{teacher}" }}')
    assert "teacher" not in trainer(file).update()
    run = trainer(file, "distill=0.5")
    assert run.update()["teacher"] > 0
    maps = run.task.augmenter.teacher.maps
    assert maps.shape == (8, 3, 16, 12)
    model, packed = load_pose_model(teacher), run.task.packed
    crop = cut(packed.crops[5], model.crop_maps(packed.boxes[5:6]), model.size)
    np.testing.assert_allclose(maps[5], 255 * model.heatmaps(crop)[0], atol=0.51)
    kept = list(packed.folder.glob("teacher-*.npy"))
    made = kept[0].stat().st_mtime_ns
    assert trainer(file, "distill=0.5").update() == pytest.approx(
        trainer(file, "distill=0.5").update()
    )
    assert [path.stat().st_mtime_ns for path in packed.folder.glob("teacher-*.npy")] == [made]
    with pytest.raises(DataError, match="distill needs"):
        load_config(TrainConfig, file, ["distill=1.0", "data.teacher=", "stage=stn"])


def test_a_teacher_looks_at_the_view(tmp_path):
    """It sees the student's own crop; workers and resuming change nothing."""
    teacher = spot_pose_model(tmp_path)
    skeleton = tmp_path / "rgb3.toml"
    annotations, images = write_set(tmp_path, load_skeleton(str(skeleton)), images=4)
    sets = f'[{{ annotations = "{annotations}", images = "{images}", skeleton = "{skeleton}" }}]'
    common = (
        f'size = [64, 48], cache = "{tmp_path / "cache"}", skeleton = "{skeleton}", sets = {sets}'
    )
    data, augment = (
        f'{{ {common}, teacher = "{teacher}" }}',
        "{ paste = 0.5, blur = 0.5, noise = 0.5, grey = 0.2 }",
    )
    file = small(
        tmp_path,
        (annotations, images),
        data=data,
        distill=0.5,
        teacher_view='"view"',
        augment=augment,
        steps=6,
    )
    run = trainer(file)
    batch = run.batch(0)
    answered = batch.teacher((16, 12), 0.1)
    pixels = (batch.images * PIXEL_SD + PIXEL_MEAN).clamp(0, 255).round() / 255
    np.testing.assert_allclose(answered, torch.nn.functional.avg_pool2d(pixels, 4), atol=2e-3)
    run.fit()
    ahead = trainer(file, f'run="{tmp_path / "ahead"}"', "workers=1")
    for _ in range(3):
        ahead.update()
    ahead.config.run.mkdir()
    ahead.save()
    again = trainer(file, f'run="{tmp_path / "ahead"}"', "workers=2")
    again.resume()
    again.fit()
    a, b = (
        torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("run", "ahead")
    )
    assert same(a["net"], b["net"])
    assert same(a["optimizer"], b["optimizer"])
    scale = torch.tensor([32 / 48, 32 / 64])
    small_steps = trainer(file, "small_size=[32, 32]", "small_share=1.0").batch(0)
    assert small_steps.images.shape[2:] == (32, 32)
    np.testing.assert_allclose(
        small_steps.keypoints, (batch.keypoints + 0.5) * scale - 0.5, atol=1e-4
    )
    assert torch.equal(small_steps.teacher.maps, batch.teacher.maps)
    with pytest.raises(DataError, match="needs distill"):
        load_config(TrainConfig, file, ["distill=0.0"])


def test_learning_rate_schedules():
    cosine = OptimConfig(lr=1.0, warmup=10)
    rates = [learning_rate(cosine, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9])
    assert rates[-1] < 1e-3
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    step = OptimConfig(lr=1.0, schedule="step", drops=(0.5, 0.75), drop=0.1, warmup=0)
    assert [learning_rate(step, at, 100) for at in (0, 49, 50, 74, 75)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        OptimConfig(drops=(3.0,))


def test_groups_and_average():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    config = OptimConfig(lr_scale={"0": 0.5, "0.bias": 2.0}, weight_decay=0.1)
    groups = make_optimizer(net, config).param_groups
    found = {
        tuple(p.shape): (g["scale"], g["weight_decay"])
        for g in groups
        for p in g["params"]
        if p is not net[1].weight
    }
    assert found[2, 2] == (0.5, 0.1)
    assert sorted((g["scale"], g["weight_decay"], len(g["params"])) for g in groups) == [
        (0.5, 0.1, 1),
        (1.0, 0.0, 2),
        (2.0, 0.0, 1),
    ]
    average = MovingAverage(net, 0.5)
    start = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight.add_(1)
    average.update(net)  # decay min(0.5, 2 / 11)
    assert torch.allclose(average.state["0.weight"], start + 1 - 2 / 11)
    with average.applied(net):
        assert torch.equal(net[0].weight, average.state["0.weight"])
    assert torch.allclose(net[0].weight, start + 1)


def test_a_net_learns_a_teachers_features(tmp_path):
    """Part by part, then as a whole."""
    teacher = spot_pose_model(tmp_path)
    skeleton = tmp_path / "rgb3.toml"
    annotations, images = write_set(tmp_path, load_skeleton(str(skeleton)), images=4)
    sets = f'[{{ annotations = "{annotations}", images = "{images}", skeleton = "{skeleton}" }}]'
    common = f'cache = "{tmp_path / "cache"}", skeleton = "{skeleton}", sets = {sets}'
    file = small(
        tmp_path,
        (annotations, images),
        data=f'{{ size = [64, 48], {common}, teacher = "{teacher}" }}',
        model='{ name = "high_resolution", stages = [2], widths = [3, 3] }',
        distill=0.5,
        teacher_view='"view"',
        steps=40,
        hints='{ apart = true, tensors = [["pooled", "coarse"], ["pooled", "coarse"]] }',
        optim="{ lr = 2e-2, warmup = 5 }",
    )
    run = trainer(file)
    batch = run.batch(0)
    pooled = torch.nn.functional.avg_pool2d(batch.images, 4)
    for hinted in batch.hints:
        assert [tuple(one.shape) for one in hinted] == [(4, 3, 16, 12), (4, 3, 8, 6)]
        for one, other in zip(hinted[0].unbind(1), pooled.unbind(1), strict=True):  # scaled
            assert np.corrcoef(one.flatten(), other.flatten())[0, 1] > 0.999
        assert all(0.3 < one.std() < 3 for one in hinted)
    first = run.update()["hints"]
    checkpoint = run.fit()
    apart = run.update()
    assert apart["hints"] < 0.5 * first
    joined = 'hints.tensors=[["pooled", "coarse"], []]', "hints.apart=false", "steps=1"
    whole = trainer(file, *joined, f'start="{checkpoint}"', f'run="{tmp_path / "whole"}"')
    assert len(whole.batch(0).hints[1]) == 0
    assert 0 < whole.update()["hints"] < first
    whole.config.run.mkdir()
    whole.save()
    net, _ = load_checkpoint(tmp_path / "whole" / "model.safetensors")
    assert net(torch.zeros(1, 3, 64, 48))[-1].shape == (1, 3, 16, 12)


@pytest.mark.parametrize("span", [0, 1, 2])
def test_losses_flow_back_through_a_span_of_parts(span):
    torch.manual_seed(0)
    net = HighResolutionSppe(3, stages=(2, 2), widths=(4, 4))
    images = torch.randn(2, 3, 32, 32)
    hints = [[torch.randn(2, 4, 8, 8), torch.randn(2, 4, 4, 4)] for _ in range(3)]
    heatmaps, answers = Hinted(net, apart=False, span=span)(images, hints)
    assert torch.equal(net(images)[0], heatmaps[0])
    parts = [net.stem, *net.stages, net.head]

    def moved(loss):
        """The parts that learn from it."""
        gradients = [
            torch.autograd.grad(loss, [*part.parameters()], retain_graph=True, allow_unused=True)
            for part in parts
        ]
        return [any(one is not None for one in part) for part in gradients]

    last = hint_loss(answers[2:], hints[2:])
    # Of two: stem and first stage, then the second.
    assert moved(last) == [span == 0, span == 0, True, False]
    assert moved(hint_loss(answers[1:2], hints[1:2])) == [span != 1, True, False, False]
    assert moved(heatmaps[0].sum()) == [span == 0, span == 0, span == 0, True]


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ('hints.tensors=[["pool", "coarse"], ["pooled", "coarse"]]', "nearest name is 'pooled'"),
        ('hints.tensors=[["pooled", "coarse"]]', "1 lists; the net has a stem and 1 stages"),
        ('hints.tensors=[["coarse", "pooled"], ["pooled", "coarse"]]', "list 1: the teacher's are"),
        ('model={ name = "lite" }', "hints need model"),
        ("small_share=0.5", "hints need teacher_view"),
        ("hints.people=0", "at least 1"),
        ("hints.weight=0.0", "above 0"),
        ('hints.tensors=[["pooled", "coarse"], []]', "the stem and every stage"),
        ("hints.span=1", "hints.span = 1 must not be negative, and 0 with hints.apart"),
        ("hints.span=-1", "hints.span = -1 must not"),
    ],
)
def test_hints_that_do_not_fit_are_named(tmp_path, override, error):
    teacher = spot_pose_model(tmp_path)
    skeleton = tmp_path / "rgb3.toml"
    annotations, images = write_set(tmp_path, load_skeleton(str(skeleton)), images=4)
    sets = f'[{{ annotations = "{annotations}", images = "{images}", skeleton = "{skeleton}" }}]'
    common = f'cache = "{tmp_path / "cache"}", skeleton = "{skeleton}", sets = {sets}'
    file = small(
        tmp_path,
        (annotations, images),
        data=f'{{ size = [64, 48], {common}, teacher = "{teacher}" }}',
        model='{ name = "high_resolution", stages = [2], widths = [3, 3] }',
        distill=0.5,
        teacher_view='"view"',
        hints='{ apart = true, tensors = [["pooled", "coarse"], ["pooled", "coarse"]] }',
    )
    with pytest.raises((ModelError, DataError), match=error):
        trainer(file, override)
