"""The SSTN experiment: the configurations of all runs load, and an STN can be trained alone."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from conftest import ROOT
from small_set import write_set

from benchmarks.boxes import sstn_train as recipe
from rmpe.config import load_config
from rmpe.nets.checkpoint import load_checkpoint
from rmpe.skeletons import load_skeleton
from rmpe.training.pose.fit import TrainConfig, Trainer


def test_every_run_has_a_valid_configuration_and_its_start_is_made_before() -> None:
    made = []
    for name, (config, overrides) in recipe.runs(Path("runs/proof")).items():
        loaded = load_config(TrainConfig, ROOT / config, [f"run=runs/proof/{name}", *overrides])
        assert loaded.start is None or loaded.start.parent.name in made
        made.append(name)
    variants = [
        "control",
        *(teacher + suffix for teacher in recipe.TEACHERS for suffix in recipe.SAMPLINGS),
    ]
    assert {
        f"stage2-{policy}-{variant}" for policy in recipe.POLICIES for variant in variants
    } <= set(made)


def test_stage_2_runs_are_of_equal_length_on_equal_boxes() -> None:
    loaded = [
        load_config(TrainConfig, ROOT / config, overrides)
        for name, (config, overrides) in recipe.runs(Path("runs/proof")).items()
        if name.startswith("stage2")
    ]
    assert len({(run.steps, run.batch, run.augment, run.seed) for run in loaded}) == 1
    assert len({run.freeze for run in loaded if run.stage == 2}) == 1
    rates = {run.optim.lr * (run.optim.lr_scale["sppe"] if run.stage == 2 else 1) for run in loaded}
    assert len(rates) == 1 or max(rates) == pytest.approx(
        min(rates)
    )  # the pose estimator learns as fast in all


def test_an_stn_learns_alone(tmp_path) -> None:
    annotations, images = write_set(tmp_path, load_skeleton("coco17"), images=2)
    sets = f'[{{annotations="{annotations}", images="{images}"}}]'
    small = [
        "batch=4",
        f"data.sets={sets}",
        "data.size=[64, 64]",
        f"data.cache={tmp_path / 'cache'}",
    ]
    first = load_config(
        TrainConfig,
        ROOT / recipe.STAGE1,
        [
            *small,
            "model.pretrained=false",
            "steps=1",
            f"run={tmp_path / 'one'}",
            "augment.policy=jitter",
        ],
    )
    start = Trainer(first, lambda line: None).fit()
    options = [*small, f"start={start}", *recipe.ALONE, "steps=13", f"run={tmp_path / 'stn'}"]
    trainer = Trainer(load_config(TrainConfig, ROOT / recipe.STAGE2, options), lambda line: None)
    fine = {
        n: p.clone()
        for n, p in trainer.net.named_parameters()
        if n.startswith("features.backbone.stem")
    }
    losses = [trainer.update()["theta"] for _ in range(12)]
    assert all(torch.equal(p, fine[n]) for n, p in trainer.net.named_parameters() if n in fine)
    assert min(losses) < losses[0]
    trainer.fit()
    net, saved = load_checkpoint(tmp_path / "stn" / "model.safetensors")
    assert saved["model"]["name"] == "backbone_localisation" and net(
        torch.zeros(1, 3, 64, 64)
    ).shape == (1, 2, 3)
