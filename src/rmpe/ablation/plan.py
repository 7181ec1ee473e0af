"""The configuration of an ablation and its rows."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rmpe.associate import ASSOCIATORS
from rmpe.config import from_mapping
from rmpe.runtime import Device
from rmpe.suppress import SUPPRESSORS, PoseNmsParameters

# Keys that a row inherits from the first row if it does not set them.
INHERITED = (
    "pose",
    "stn",
    "boxes",
    "box_nms",
    "nms",
    "nms_parameters",
    "growth",
    "associate",
)


@dataclass(frozen=True)
class Data:
    """The photos on which rows are measured.

    Attributes:
        annotations: The benchmark's annotation file.
        images: Folder of its images.
        protocol: ``coco``, ``crowdpose`` or ``mpii``; see docs/evaluation.md.
        skeleton: For ``coco``: name or TOML file of the joints; by default those of the
            annotations.
    """

    annotations: Path
    images: Path
    protocol: Literal["coco", "crowdpose", "mpii"] = "coco"
    skeleton: str | None = None

    def __post_init__(self) -> None:
        if self.skeleton is not None and self.protocol != "coco":
            raise ValueError(f"{self.protocol} has joints of its own: skeleton is for coco")


@dataclass(frozen=True)
class Train:
    """A training run: `rmpe train CONFIG` with overrides, into the folder NAME under ``runs``.

    Attributes:
        name: Name of the run in rows, and of its folder.
        config: TOML file of `rmpe train`.
        start: Name of an earlier run whose checkpoint is the starting point.
        set: Overrides, as in ``--set``.
    """

    name: str
    config: Path
    start: str | None = None
    set: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row of the table; keys that are not set are as in the first row.

    Attributes:
        title: Title of the row.
        paper: The published figure in percent, if any.
        pose: A run, checkpoint (``.safetensors``), ONNX file or installed model.
        stn: ``composed`` or ``crop``: the net's own spatial transformer, if it has one, composed
            with the crop's map, or applied to the crop as in the paper. ``none``: no transformer.
            Otherwise a separate transformer, named like ``pose``.
        boxes: ``detector`` or ``another`` (the configuration's), ``true`` (annotated boxes), an
            ONNX detector, or a JSON file of precomputed boxes.
        box_nms: IoU threshold of box NMS; not applied to ``true`` boxes.
        nms: ``parametric``, another of `rmpe.suppress.SUPPRESSORS`, or a TOML file of learned
            parameters.
        nms_parameters: Parameters of parametric NMS that differ from the defaults.
        growth: Growth of the boxes, if it differs from the model's card; only without a spatial
            transformer.
        associate: ``none``, ``paper`` or ``released``: what decides whose joint a joint is, where
            people overlap.
    """

    title: str
    paper: float | None = None
    pose: str | None = None
    stn: str | None = None
    boxes: str | None = None
    box_nms: float | None = None
    nms: str | None = None
    nms_parameters: dict[str, Any] | None = None
    growth: float | None = None
    associate: str | None = None


@dataclass(frozen=True)
class Vary:
    """Rows that differ from the first in a single number.

    Attributes:
        title: Name of the number, e.g. ``eta``.
        key: ``growth``, ``box_nms``, ``pose``, or ``nms.NAME`` for a parameter of parametric NMS.
        values: The values to measure.
        pattern: For ``pose``, the name of the run, with ``{}`` in place of the value.
    """

    title: str
    key: str
    values: tuple[float, ...]
    pattern: str = "{}"

    def __post_init__(self) -> None:
        known = (
            "growth",
            "box_nms",
            "pose",
            *(f"nms.{name}" for name in asdict(PoseNmsParameters())),
        )
        if self.key not in known:
            raise ValueError(f"key {self.key!r}; known: {', '.join(known)}")

    def row(self, value: float, first: Row) -> Row:
        """The row for one value."""
        title = f"{self.title} {value:g}"
        if self.key == "pose":
            return Row(title, pose=self.pattern.format(f"{value:g}"))
        if self.key.startswith("nms."):
            changed = {self.key.removeprefix("nms."): value}
            return Row(
                title, nms="parametric", nms_parameters=(first.nms_parameters or {}) | changed
            )
        return Row(title, growth=value) if self.key == "growth" else Row(title, box_nms=value)


@dataclass(frozen=True)
class AblationConfig:
    """An ablation.

    Attributes:
        out: Folder for the table, the plots and the cache.
        data: The photos on which rows are measured.
        detector: ONNX detector, installed model, or JSON file of precomputed boxes (COCO results).
        rows: The table; all rows are compared with the first.
        another: The detector of rows with ``boxes = "another"``.
        score: Smallest score of a box.
        box_nms: IoU threshold of box NMS, see `Row`. It is high, so that pose NMS has redundant
            proposals to remove.
        limit: Largest number of proposals per photo.
        runs: Folder of the training runs.
        train: Training runs; only those that rows need are trained.
        seeds: Each run is trained once a seed, into ``NAME-seedN``, and a row is the mean of them;
            empty: once, with the seed of its own configuration.
        vary: Further rows, each with one number varied.
        published: What the published figures were measured on.
        samples: Number of bootstrap samples.
        cost: Photos on which the time per module is measured; 0 disables it.
        device: ``auto``, ``cpu`` or ``cuda`` for inference; training runs have their own setting.
        threads: Cores to use; 0 = all.
        batch: Largest number of crops per model call; about 2 for a CPU, at least 16 for a GPU.
    """

    out: Path
    data: Data
    detector: str
    rows: tuple[Row, ...]
    another: str | None = None
    score: float = 0.02
    box_nms: float = 0.9
    limit: int = 1000
    runs: Path = Path("runs")
    train: tuple[Train, ...] = ()
    seeds: tuple[int, ...] = ()
    vary: tuple[Vary, ...] = ()
    published: str = "the paper, MPII validation"
    samples: int = 1000
    cost: int = 0
    device: Device = "auto"
    threads: int = 0
    batch: int = 2

    def __post_init__(self) -> None:
        if not self.rows or self.rows[0].pose is None:
            raise ValueError("the first of [[rows]] must name its pose model")
        if self.samples < 10:
            raise ValueError(f"samples = {self.samples} must be at least 10")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds = {list(self.seeds)} names one twice")
        made: set[str] = set()
        for run in self.train:
            if run.start is not None and run.start not in made:
                raise ValueError(f"train {run.name!r}: start = {run.start!r} names no earlier run")
            if run.name in made:
                raise ValueError(f"two runs are named {run.name!r}")
            made.add(run.name)
        titles: set[str] = set()
        for row in settings(self):
            if row.title in titles:
                raise ValueError(f"two rows are named {row.title!r}")
            titles.add(row.title)


@dataclass(frozen=True)
class Setting:
    """A `Row` with all inherited values resolved.

    Attributes:
        varied: Title of the `Vary` it comes from; empty for a row of the table.
        value: Its value in that `Vary`.
    """

    title: str
    pose: str
    paper: float | None = None
    stn: str = "composed"
    boxes: str = "detector"
    box_nms: float = 0.9
    nms: str = "parametric"
    nms_parameters: dict[str, Any] = field(default_factory=dict)
    growth: float | None = None
    associate: str = "none"
    varied: str = ""
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.nms not in SUPPRESSORS and not self.nms.endswith(".toml"):
            known = ", ".join(SUPPRESSORS)
            raise ValueError(
                f"row {self.title!r}: unknown nms {self.nms!r}; known: {known}, or a .toml file"
            )
        if self.associate not in ASSOCIATORS:
            raise ValueError(
                f"row {self.title!r}: unknown associate {self.associate!r}; known:"
                f" {', '.join(ASSOCIATORS)}"
            )
        if self.growth is not None and self.growth <= 0:
            raise ValueError(f"row {self.title!r}: growth = {self.growth} must be above 0")
        from_mapping(PoseNmsParameters, self.nms_parameters, f"row {self.title!r}: nms_parameters")


def settings(config: AblationConfig) -> list[Setting]:
    """All rows; the varied ones are last.

    Raises:
        ValueError: If a row is invalid.
        DataError: If a parameter of pose NMS is unknown.
    """
    first = replace(config.rows[0], box_nms=config.rows[0].box_nms or config.box_nms)
    made = [_setting(row, first) for row in config.rows]
    for varied in config.vary:
        rows = [_setting(varied.row(value, first), first) for value in varied.values]
        named = zip(rows, varied.values, strict=True)
        made += [replace(row, varied=varied.title, value=value) for row, value in named]
    return made


def all_runs(config: AblationConfig) -> list[Train]:
    """The training runs, each once a seed."""
    if not config.seeds:
        return list(config.train)
    return [
        replace(
            run,
            name=_of_seed(run.name, seed),
            start=None if run.start is None else _of_seed(run.start, seed),
            set=(*run.set, f"seed={seed}"),
        )
        for run in config.train
        for seed in config.seeds
    ]


def repeats(setting: Setting, config: AblationConfig) -> list[Setting]:
    """A row with the runs of each seed; only itself if it names no run, or there are no seeds."""
    runs = {run.name for run in config.train}
    if not config.seeds or not runs & {setting.pose, setting.stn}:
        return [setting]

    def named(name: str, seed: int) -> str:
        return _of_seed(name, seed) if name in runs else name

    return [
        replace(setting, pose=named(setting.pose, seed), stn=named(setting.stn, seed))
        for seed in config.seeds
    ]


def _of_seed(run: str, seed: int) -> str:
    return f"{run}-seed{seed}"


def _setting(row: Row, first: Row) -> Setting:
    said = {
        key: getattr(first, key) if getattr(row, key) is None else getattr(row, key)
        for key in INHERITED
    }
    # A row with its own NMS does not inherit the parameters of the first row.
    if row.nms is not None and row.nms_parameters is None:
        said["nms_parameters"] = None
    return Setting(
        title=row.title,
        paper=row.paper,
        **{key: value for key, value in said.items() if value is not None},
    )
