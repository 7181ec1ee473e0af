"""Ablations end to end, on tiny photos and nets with known outputs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT
from small_set import write_set
from tiny_models import constant_model, simcc_model, yolox_model

from rmpe.ablation import measure
from rmpe.ablation.ablate import ablate, differences
from rmpe.ablation.plan import AblationConfig, Row, Train, Vary, all_runs, repeats, settings
from rmpe.ablation.report import COLUMNS, Line, order
from rmpe.cli.ablate import ablate as command
from rmpe.config import load_config
from rmpe.errors import DataError, RmpeError, UsageError
from rmpe.evaluation.benchmarks import Measured
from rmpe.evaluation.figures.bootstrap import mean_figure
from rmpe.skeletons import load_skeleton

CONFIGS = sorted((ROOT / "configs").glob("ablation_*.toml"))
PEOPLE = [(20, 30, 40, 60), (100, 30, 40, 60)]  # x, y, width, height in photos of 160 x 120
MPII_CARD = (
    'kind = "pose"\nname = "spot"\ndecoder = "simcc"\nskeleton = "mpii16"\n'
    "sd = [255, 255, 255]\ngrowth = 1.2\n"
)

ONE_RUN = """run = "x"
steps = 2
threads = 1
model = { name = "hourglass", stacks = 1, channels = 16, depth = 2 }

[data]
sets = []

[augment]
policy = "jitter"

"""


def spot(x, y, width, height):
    """Position of all joints of a person: the red spot in the box."""
    return x + width // 2, y + height // 3


def write_photos(folder: Path, count: int = 4) -> tuple[Path, Path]:
    """Two people per photo, all joints at one red spot; COCO and MPII annotations."""
    (folder / "images").mkdir(parents=True)
    images, annotations, mpii = [], [], []
    lines, columns = np.mgrid[:120, :160]
    for number in range(count):
        photo = np.zeros((120, 160, 3), np.uint8)
        images.append({"id": number, "file_name": f"{number}.png", "width": 160, "height": 120})
        for place, (x, y, width, height) in enumerate(PEOPLE):
            center = spot(x, y, width, height)
            far = (columns - center[0]) ** 2 + (lines - center[1]) ** 2
            photo[..., 2] += (250 * np.exp(-far / 18)).astype(np.uint8)  # red, as OpenCV writes it
            joints = [[*center, 2]] * 17
            annotations.append({
                "id": 2 * number + place, "image_id": number, "category_id": 1, "iscrowd": 0,
                "num_keypoints": 17, "bbox": [x, y, width, height], "area": 0.53 * width * height,
                "keypoints": np.ravel(joints).tolist(),
            })  # fmt: skip
            corners = [
                [x + 5, y + 5],
                [x + width - 5, y + height - 5],
            ]  # joints whose extent makes a box
            mpii.append({
                "image": f"{number}.png", "scale": 0.3, "joints": [list(center)] * 14 + corners,
                "joints_vis": [1] * 16,
            })  # fmt: skip
        cv2.imwrite(str(folder / "images" / f"{number}.png"), photo)
    (folder / "mpii.json").write_text(json.dumps(mpii))
    file = folder / "annotations.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return file, folder / "images"


@pytest.fixture
def tiny(tmp_path):
    """A configuration whose detector finds every person three times, and a false positive."""
    annotations, images = write_photos(tmp_path)
    rows = []
    for score, (x, y, width, height) in zip((0.9, 0.5), PEOPLE, strict=True):
        cx, cy = 0.4 * (x + width / 2), 0.4 * (y + height / 2)
        rows += [(cx, cy, 0.4 * width, 0.4 * height, 1, score)]
        rows += [
            (cx + 8 * side, cy, 0.4 * width + 12, 0.4 * height, 1, score - 0.1) for side in (-1, 1)
        ]
    pose, detector = simcc_model(tmp_path), yolox_model(tmp_path, rows)
    file = tmp_path / "ablation.toml"
    file.write_text(f"""
out = "{tmp_path / "out"}"
detector = "{detector}"
samples = 20
cost = 2
threads = 1

[data]
annotations = "{annotations}"
images = "{images}"

[[rows]]
title = "full"
paper = 80.0
pose = "{pose}"

[[rows]]
title = "no NMS"
paper = 70.0
nms = "none"

[[rows]]
title = "two-step"
paper = 60.0
box_nms = 0.3
nms = "none"

[[rows]]
title = "true"
boxes = "true"

[[vary]]
title = "growth"
key = "growth"
values = [1.0, 1.3]

[[vary]]
title = "eta"
key = "nms.eta"
values = [0.4, 2.5]
""")
    return file


def made(file: Path, *overrides: str) -> tuple[list[str], dict]:
    """The log lines of a run, and its table."""
    lines: list[str] = []
    config = load_config(AblationConfig, file, overrides)
    ablate(config, lines.append)
    return lines, json.loads((config.out / "ablation.json").read_text())


def test_table_plot_and_what_is_shared(tiny) -> None:
    lines, table = made(tiny)
    figures = {line["title"]: line["figure"] for line in table["lines"]}
    assert figures["true"] == figures["two-step"] == pytest.approx(100)
    assert figures["no NMS"] < figures["full"]
    assert figures["eta 2.5"] == figures["no NMS"]
    assert table["lines"][1]["paper_difference"] == -10
    assert table["rows"][1][-1] == "yes"
    # Box NMS alone finds everybody here: the published loss is not reproduced, as the table says.
    assert table["rows"][2][-1].startswith("**no**")
    assert "**Not reproduced here:** two-step." in table["notes"]
    assert table["order"] == {
        "published": ["two-step", "no NMS"],
        "measured": ["no NMS", "two-step"],
    }
    assert {"detector, an image", "SPPE, a person", "pose NMS, an image"} <= set(
        table["milliseconds"]
    )
    # One detection for all rows; poses for the loose, the strict and the true boxes and for two
    # growths.
    assert sum(line.startswith("detecting") for line in lines) == 1
    assert [line.split("'")[1] for line in lines if line.startswith("estimating")] == [
        *("full", "two-step", "true", "growth 1", "growth 1.3")
    ]
    out = tiny.parent / "out"
    assert "| no NMS |" in (out / "ablation.md").read_text()
    for name in ("ablation.png", "sensitivity.png"):
        assert cv2.imread(str(out / name)) is not None


def test_the_full_row_is_what_the_pipeline_gives(tiny) -> None:
    """A reference without the cache: detector and estimator as assembled by `rmpe.load`."""
    import rmpe

    config = load_config(AblationConfig, tiny)
    bench = measure.Bench(config, lambda line: None)
    results = json.loads(bench._results(settings(config)[0]).read_text())
    estimator = rmpe.load(config.detector, config.rows[0].pose, min_score=0.0, threads=1)
    estimator.detector.card = replace(
        estimator.detector.card, score_threshold=config.score, nms=config.box_nms
    )
    poses = estimator(rmpe.read_image(config.data.images / "0.png"))
    assert [one["keypoints"] for one in results if one["image_id"] == 0] == [
        one["keypoints"] for one in poses.to_coco(0)
    ]


def test_a_second_call_estimates_nothing(tiny, monkeypatch) -> None:
    _, first = made(tiny)
    monkeypatch.setattr(
        measure.Estimator, "estimate_batch", lambda *_: pytest.fail("estimated again")
    )
    lines, second = made(tiny, "cost=0")
    assert not [line for line in lines if line.startswith(("detecting", "estimating"))]
    assert second["lines"] == first["lines"]
    lines: list[str] = []
    config = load_config(AblationConfig, tiny, ["score=0.6", "cost=0"])
    with pytest.raises(pytest.fail.Exception):  # other boxes, so other poses
        ablate(config, lines.append)
    assert lines[0].startswith("detecting")


@pytest.mark.parametrize("stop", [1, 3, 5, 9])
def test_an_interrupted_call_goes_on(tiny, monkeypatch, stop) -> None:
    """The ablation is stopped after some images and then run again."""
    _, undisturbed = made(tiny, f"out={tiny.parent / 'other'}", "cost=0")
    append, calls = measure.Journal.append, []

    def stopping(journal, records):
        calls.append(1)
        if len(calls) > stop:
            raise KeyboardInterrupt
        append(journal, records)

    with monkeypatch.context() as patch:
        patch.setattr(measure.Journal, "append", stopping)
        result = CliRunner().invoke(command, [str(tiny), "--set", "cost=0"])
    assert result.exit_code == 130
    assert "the same command goes on" in result.output
    lines, table = made(tiny, "cost=0")
    assert table["lines"] == undisturbed["lines"]
    assert not [line for line in lines if line.startswith("detecting")]
    left = sum(
        int(line.split(" in ")[1].split()[0]) for line in lines if line.startswith("estimating")
    )
    assert left == 5 * 4 - stop


def test_a_cut_off_line_of_boxes_is_found_again(tiny) -> None:
    _, before = made(tiny, "cost=0")
    file = next((tiny.parent / "out" / "boxes").iterdir())
    file.write_text(file.read_text()[:-30])
    lines, after = made(tiny, "cost=0")
    assert "1 of 4 images" in next(line for line in lines if line.startswith("detecting"))
    assert after["lines"] == before["lines"]
    assert len(list(measure._read_boxes(file))) == 4


def test_recorded_boxes_and_mpii(tiny, tmp_path) -> None:
    annotations = tmp_path / "mpii.json"
    boxes = [
        {"image_id": n, "bbox": list(box), "score": 0.9, "category_id": 1}
        for n in range(4)
        for box in PEOPLE
    ]
    recorded = tmp_path / "boxes.json"
    recorded.write_text(json.dumps(boxes))
    simcc_model(tmp_path, joints=16, name="mpii.onnx").with_suffix(".toml").write_text(MPII_CARD)
    config = load_config(
        AblationConfig, tiny, [f"detector={recorded}", "data.protocol=mpii", "cost=0"]
    )
    rows = (Row("full", 80.8, str(tmp_path / "mpii.onnx")), Row("true", 84.2, boxes="true"))
    config = replace(config, data=replace(config.data, annotations=annotations), rows=rows, vary=())
    ablate(config, lambda line: None)
    table = json.loads((config.out / "ablation.json").read_text())
    assert table["figure"] == "total_AP_14"
    # All joints but the two that make the box lie at the spot.
    assert [line["figure"] for line in table["lines"]] == pytest.approx([100 * 13 / 14] * 2, abs=8)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["detector=none.onnx"], "none.onnx: no such model file"),
        (["detector=none.json"], "none.json: no such file of precomputed boxes"),
        (["data.annotations=none.json"], "none.json: cannot be read"),
        (["data.images=none"], "none: image 0.png of the annotations is not there"),
        (["rows=[]"], "the first of [[rows]] must name its pose model"),
        (['rows=[{title="a", pose="x.onnx"}]'], "x.onnx: no such model file"),
        (['rows=[{title="a", pose="x.safetensors"}]'], "x.safetensors: cannot read the checkpoint"),
        (['rows=[{title="a", pose="x"}, {title="a"}]'], "two rows are named 'a'"),
        (
            ['rows=[{title="a", pose="x", nms="soft"}]'],
            "row 'a': unknown nms 'soft'; known: parametric",
        ),
        (['rows=[{title="a", pose="x", nmss="oks"}]'], "did you mean 'nms'?"),
        (
            ['rows=[{title="a", pose="x", nms_parameters={eto=1}}]'],
            "unknown key 'eto'; did you mean 'eta'?",
        ),
        (['rows=[{title="a", pose="x", nms_parameters={eta=-1}}]'], "eta must not be negative"),
        (['vary=[{title="e", key="nms.eto", values=[1]}]'], "key 'nms.eto'; known: growth"),
        (['train=[{name="b", config="c.toml", start="a"}]'], "start = 'a' names no earlier run"),
        (
            ['train=[{name="b", config="c.toml"}]', 'rows=[{title="r", pose="b"}]'],
            "c.toml: the configuration of run",
        ),
        (
            ['rows=[{title="a", pose="rtm.onnx", boxes="another"}]'],
            "row 'a' uses another detector",
        ),
        (["samples=1"], "samples = 1 must be at least 10"),
        (
            ['rows=[{title="a", pose="rtm.onnx", associate="best"}]'],
            "row 'a': unknown associate 'best'; known: none, paper, released",
        ),
        (
            ['rows=[{title="a", pose="rtm.onnx", associate="paper"}]'],
            "so joints cannot be associated with people: leave associate out",
        ),
    ],
)
def test_one_clear_line_for_what_is_wrong(tiny, monkeypatch, overrides, message) -> None:
    monkeypatch.chdir(tiny.parent)
    result = CliRunner().invoke(
        command, [str(tiny), *(part for one in overrides for part in ("--set", one))]
    )
    assert isinstance(result.exception, RmpeError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tiny.parent / "out").exists()


def test_exit_code_of_a_bad_configuration(tmp_path) -> None:
    call = [sys.executable, "-m", "rmpe", "ablate", "none.toml"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("rmpe: none.toml: cannot be read")
    assert done.stderr.count("\n") == 1


def test_growth_is_not_for_spatial_transformers(tiny, tmp_path) -> None:
    theta = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    shapes = {"images": ["n", 3, 64, 48]}
    stn = constant_model(tmp_path, "stn.onnx", shapes, theta, ["n", 2, 3])
    stn.with_suffix(".toml").write_text(
        'kind = "stn"\nname = "s"\ndecoder = "theta"\nsd = [255, 255, 255]\n'
    )
    config = load_config(AblationConfig, tiny, ["cost=0"])
    first = replace(config.rows[0], stn=str(stn))
    with pytest.raises(UsageError, match="growth needs stn = 'none'"):
        ablate(replace(config, rows=(first, Row("g", growth=1.0)), vary=()), lambda line: None)
    ablate(
        replace(config, rows=(first, Row("g", growth=1.0, stn="none")), vary=()), lambda line: None
    )


def test_rows_take_over_what_they_do_not_say() -> None:
    first = Row("first", 80.0, "a", stn="crop", nms="oks", box_nms=0.7, growth=1.1)
    config = AblationConfig(
        out=Path("x"), data=None, detector="d", rows=(first, Row("b", pose="c", nms="none")),
        vary=(Vary("atoms", "pose", (4.0, 16.0), "pgpg-{}"),),
    )  # fmt: skip
    _, second, four, sixteen = settings(config)
    assert (second.pose, second.stn, second.nms, second.box_nms, second.paper) == (
        "c",
        "crop",
        "none",
        0.7,
        None,
    )
    assert (four.pose, sixteen.pose, four.nms, four.value, four.varied) == (
        "pgpg-4",
        "pgpg-16",
        "oks",
        4,
        "atoms",
    )


def test_runs_and_rows_of_several_seeds() -> None:
    config = AblationConfig(
        out=Path("x"),
        data=None,
        detector="d",
        rows=(Row("a", pose="two", stn="stn"), Row("b", pose="published", stn="none")),
        train=(Train("one", Path("c")), Train("two", Path("c"), "one", ("batch=2",))),
        seeds=(0, 7),
    )
    assert [(run.name, run.start, run.set) for run in all_runs(config)] == [
        ("one-seed0", None, ("seed=0",)),
        ("one-seed7", None, ("seed=7",)),
        ("two-seed0", "one-seed0", ("batch=2", "seed=0")),
        ("two-seed7", "one-seed7", ("batch=2", "seed=7")),
    ]
    first, second = settings(config)
    assert [(one.pose, one.stn) for one in repeats(first, config)] == [
        ("two-seed0", "stn"),
        ("two-seed7", "stn"),
    ]
    assert repeats(second, config) == [second]
    assert all_runs(replace(config, seeds=())) == list(config.train)
    with pytest.raises(ValueError, match="names one twice"):
        replace(config, seeds=(1, 1))


def test_differences_with_each_seed() -> None:
    def row(*figures: float) -> list[Measured]:
        return [Measured({}, [], "AP", lambda weights, f=f: f, 1, list) for f in figures]

    assert differences(row(1.0), row(3.0)) == []
    assert differences(row(1.0, 2.0), row(3.0, 5.0)) == [-2.0, -3.0]
    assert differences(row(1.0), row(3.0, 5.0)) == [-2.0, -4.0]
    figures = [one.headline for one in row(1.0, 2.0)]
    assert mean_figure(figures)(np.ones(1)) == 1.5


def test_seeds_that_disagree_reproduce_nothing() -> None:
    line = Line("a", 50, -2, -3, -1, 70, -1, seeds=(-4.0, 0.0))
    assert line.reproduced == "yes"
    assert line.cells()[COLUMNS.index("each seed")] == "-4.0, +0.0"
    assert replace(line, seeds=(-5.0, 1.0)).reproduced == "**no**: the seeds disagree"


@pytest.mark.parametrize(
    ("difference", "low", "high", "paper", "expected"),
    [
        (-2, -3, -1, -1, "yes"),
        (2, 1, 3, 1, "yes"),
        (2, 1, 3, -1, "**no**: opposite sign"),
        (-2, -5, 1, -1, "**no**: the interval contains 0"),
        (2, -1, 5, -1, "**no**: the interval contains 0"),
        (0, 0, 0, -1, "**no**: the interval contains 0"),
        (-2, -3, -1, None, ""),
        (0, 0, 0, 0.0, ""),
    ],
)
def test_the_table_says_what_is_reproduced(difference, low, high, paper, expected) -> None:
    line = Line("a", 50, difference, low, high, 70, paper)
    assert line.reproduced == expected
    assert line.cells()[COLUMNS.index("reproduced")] == expected


def test_order_of_losses() -> None:
    lines = [
        Line("full", 50, 0, 0, 0, 80, 0.0),
        Line("a", 0, -5, 0, 0, 0, -1),
        Line("b", 0, -1, 0, 0, 0, -9),
    ]
    assert order([*lines, Line("c", 0, -7, 0, 0)]) == {
        "published": ["b", "a"],
        "measured": ["a", "b"],
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_name_only_what_is_there_or_made(path, monkeypatch) -> None:
    pytest.importorskip("torch")
    from rmpe.ablation.runs import Runs

    monkeypatch.chdir(ROOT)
    config = load_config(AblationConfig, path)
    names = {run.name for run in config.train}
    rows = settings(config)
    assert {row.pose for row in rows} <= names
    runs = Runs(config, lambda line: None)
    for run in runs.by_name.values():
        loaded = runs._settings(run)
        assert loaded.start is None or run.start is not None or loaded.start.is_file()
    needed = {row.pose for row in rows} | {row.stn for row in rows}
    needed |= {run.start for run in config.train if run.name in needed}
    # Nothing is listed in vain.
    assert needed - {"composed", "crop", "none", "stn-lite", None} == names


def net_settings(folder: Path, skeleton: str = "coco17") -> tuple[str, ...]:
    """Overrides that shrink any run."""
    annotations, images = write_set(folder, load_skeleton(skeleton), images=2)
    sets = f'data.sets=[{{annotations="{annotations}", images="{images}", skeleton="{skeleton}"}}]'
    return ("batch=2", "device=cpu", "data.size=[64, 48]", f"data.cache={folder / 'cache'}", sets)


@pytest.mark.slow
def test_runs_are_trained_once_exported_and_compared(tiny, tmp_path) -> None:
    pytest.importorskip("torch")
    first, second = tmp_path / "one.toml", tmp_path / "two.toml"
    first.write_text(ONE_RUN)
    second.write_text(
        first.read_text().replace("steps = 2", "steps = 1\nstage = 2")
        + '[sstn]\nlocalisation = { name = "tiny_localisation" }\n'
    )
    small = net_settings(tmp_path / "people")
    train = (
        Train("one", first, None, small),
        Train("two", second, "one", (*small, "sstn.parallel=1.0")),
    )
    rows = (Row("full", None, "two"), Row("crop", stn="crop"), Row("bare", stn="none"))
    config = load_config(AblationConfig, tiny, ["cost=1", f"runs={tmp_path / 'runs'}"])
    config = replace(config, rows=rows, vary=(), train=train)
    with pytest.raises(UsageError, match="the first row, 'full'"):
        ablate(config, lambda line: None, train=False)
    lines: list[str] = []
    ablate(config, lines.append)
    assert [line for line in lines if line.startswith("run ")] == [
        "run one: training",
        "run two: training",
    ]
    assert [line.split("'")[1] for line in lines if line.startswith("estimating")] == [
        row.title for row in rows
    ]
    assert "STN with its crops, a person" in (config.out / "ablation.md").read_text()
    again: list[str] = []
    ablate(replace(config, cost=0), again.append, train=False)
    assert [line[:3] for line in again] == ["row"] * 3
    # A run stopped half way goes on; a finished one is taken as it is, even if trained in another
    # way.
    longer = replace(
        config, train=(train[0], replace(train[1], set=(*train[1].set, "steps=2"))), cost=0
    )
    third = replace(longer, out=tmp_path / "third")
    said: list[str] = []
    ablate(third, said.append)
    assert any(
        "two/model.safetensors: used as it is, but trained with other steps" in line
        for line in said
    )
    assert not any(line.startswith("run ") for line in said)


def test_an_unfinished_run_is_resumed(tiny, tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from rmpe.ablation.runs import Runs, finished
    from rmpe.training.loop import Trainer

    file = tmp_path / "one.toml"
    file.write_text(ONE_RUN)
    train = Train("one", file, None, net_settings(tmp_path / "people"))
    config = replace(
        load_config(AblationConfig, tiny, [f"runs={tmp_path / 'runs'}"]), train=(train,)
    )
    lines: list[str] = []
    runs = Runs(config, lines.append)
    trainer = Trainer(runs._settings(train), lambda line: None)
    trainer.config.run.mkdir(parents=True)
    trainer.update()
    trainer.save()
    assert not finished(trainer.config.run / "model.safetensors")
    path = runs._trained(train)
    assert "run one: resuming" in lines
    assert finished(path)
    assert torch.load(path.with_name("state.pt"), weights_only=True)["step"] == 2
    path.write_bytes(b"no checkpoint at all")
    with pytest.raises(RmpeError, match="no checkpoint of rmpe"):
        finished(path)


def test_unknown_keys_are_named(tiny) -> None:
    with pytest.raises(DataError, match="did you mean 'detector'"):
        load_config(AblationConfig, tiny, ["detectr=x"])


@pytest.mark.slow
def test_the_papers_setting_runs_on_a_few_groups(tiny, tmp_path) -> None:
    """Each configuration with its nets, losses, protocol and rows; data and sizes are small."""
    pytest.importorskip("torch")
    names = tmp_path / "val_photos.txt"
    names.write_text("0009.png\n")
    small = (
        *net_settings(tmp_path / "people", "mpii16"),
        f"data.exclude={names}",
        "steps=1",
        "data.size=[64, 64]",
        f"augment.policy={ROOT / 'configs' / 'pgpg_yolox_nano.toml'}",
    )
    config = load_config(
        AblationConfig, ROOT / "configs" / "ablation_mpii_paper.toml", ["samples=10", "device=cpu"]
    )
    train = tuple(
        replace(
            run,
            config=ROOT / run.config,
            set=(*run.set, *small, *(() if run.start else ("model.channels=16",))),
        )
        for run in config.train
    )
    rows = tuple(row for row in config.rows if row.pose in ("stage2-pgpg", "stage2-control", None))
    other = load_config(AblationConfig, tiny)
    recorded = tmp_path / "faster_rcnn.json"
    boxes = [
        {"image_id": n, "bbox": list(box), "score": 0.9, "category_id": 1}
        for n in range(4)
        for box in PEOPLE
    ]
    recorded.write_text(json.dumps(boxes))
    data = replace(config.data, annotations=tmp_path / "mpii.json", images=other.data.images)
    config = replace(
        config, out=tmp_path / "paper", runs=tmp_path / "runs", detector=other.detector,
        another=str(recorded),
        data=data, train=train, rows=rows, score=0.3,
    )  # fmt: skip
    lines: list[str] = []
    ablate(config, lines.append)
    assert [line for line in lines if line.startswith("run ")] == [
        *("run stage1-pgpg: training", "run stage2-pgpg: training", "run stage2-control: training")
    ]
    table = json.loads((config.out / "ablation.json").read_text())
    assert table["figure"] == "total_AP_14"
    assert [line["title"] for line in table["lines"]] == [row.title for row in rows]
    assert all(0 <= line["figure"] <= 100 for line in table["lines"])
