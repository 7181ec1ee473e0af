"""An STN is trained alone, by the true transform."""

import pytest

torch = pytest.importorskip("torch")
from conftest import ROOT
from small_set import write_set

from rmpe.config import load_config
from rmpe.nets.checkpoint import load_checkpoint
from rmpe.skeletons import load_skeleton
from rmpe.training.pose.fit import TrainConfig, Trainer


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
        ROOT / "configs" / "proof_stage1.toml",
        [
            *small,
            "model.pretrained=false",
            "steps=1",
            f"run={tmp_path / 'one'}",
            "augment.policy=jitter",
        ],
    )
    start = Trainer(first, lambda line: None).fit()
    options = [*small, f"start={start}", "steps=13", f"run={tmp_path / 'stn'}"]
    alone = load_config(TrainConfig, ROOT / "configs" / "lite_cpu_stn.toml", options)
    trainer = Trainer(alone, lambda line: None)
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
