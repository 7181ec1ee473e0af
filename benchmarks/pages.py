"""What the pages of results show: five questions, their answers, and which table answers what.

The answers are sentences around recorded figures; `benchmarks.render` writes the pages.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks import plots
from benchmarks.plots import Draw, Read
from benchmarks.record import Cell

# A column to show: the name of one that was recorded, or of several shown in one.
Shown = str | tuple[str, ...]
EDGES = ("left", "top", "right", "bottom")
OFFSETS: tuple[Shown, ...] = tuple(
    (f"{edge} mean", f"{edge} sd", f"{edge} IQR/1.35") for edge in EDGES
)
OFFSET_HEADS: dict[Shown, str] = {
    columns: f"{edge}: mean, sd, IQR/1.35" for columns, edge in zip(OFFSETS, EDGES, strict=True)
}
OFFSET_DIGITS = {column: 3 for columns in OFFSETS for column in columns}
IOUS = tuple(f"IoU {iou}" for iou in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5))


@dataclass(frozen=True)
class Script:
    """One benchmark of today: what it asks, and how long that takes.

    Attributes:
        module: Run as ``python -m benchmarks.MODULE``.
        arguments: What it needs on the command line besides ``--save``.
        question: The question it answers.
        time: On two cores.
    """

    module: str
    question: str
    time: str
    arguments: str = ""

    @property
    def command(self) -> str:
        return " ".join(["python -m", f"benchmarks.{self.module}", self.arguments]).strip()


@dataclass(frozen=True)
class Table:
    """How one recorded table is shown.

    Attributes:
        record: Its name in ``docs/results``.
        script: What measures it today; None for a question that is closed.
        digits: Decimals of a column's numbers, one rounding a column.
        points: Columns that were recorded as fractions and are shown in points.
        names: How many of the columns shown name a row; no two rows have one name.
        show: The columns, at most ten; all that hold anything if empty.
        heads: Other headings than the recorded names.
        where: Only rows with these cells, whose columns are then left out.
        title: Other than the recorded one.
        across: Whether rows become columns: one row of many figures.
        closed: The answer, where nothing measures it today.
        mixed: Columns whose rows are different quantities, each rounded when it was recorded.
    """

    record: str
    script: Script | None
    digits: Mapping[str, int] = field(default_factory=dict)
    points: tuple[str, ...] = ()
    names: int = 1
    show: tuple[Shown, ...] = ()
    heads: Mapping[Shown, str] = field(default_factory=dict)
    where: Mapping[str, Cell] = field(default_factory=dict)
    title: str = ""
    across: bool = False
    closed: str = ""
    mixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """One question.

    Attributes:
        name: ``docs/results/NAME.md``.
        question: Its heading.
        answer: Two sentences from the recorded figures.
        draw: Its plot.
        plot: Where the plot lies, from the repository's root.
        drawn: The records that the plot shows.
        alt: What the plot shows, for who cannot see it.
        tables: The details.
    """

    name: str
    question: str
    answer: Callable[[Read], str]
    draw: Draw
    plot: str
    drawn: tuple[str, ...]
    alt: str
    tables: tuple[Table, ...]


def chance(difference: str) -> str:
    """Whether the interval of ``-0.2 [-1.2, +0.5]`` holds 0, in words."""
    low, high = (float(end) for end in re.findall(r"[-+]?[\d.]+", difference)[1:3])
    return "within chance" if low <= 0 <= high else "beyond chance"


def points(difference: str) -> str:
    """The difference of ``-0.2 [-1.2, +0.5]``, and whether it is beyond chance."""
    return f"{difference.split(maxsplit=1)[0]} ({chance(difference)})"


def answer_models(read: Read) -> str:
    table = read("default-models")
    ours = ("default detector", "default pose", "yes")
    changed = table.at("AP", "yolox_nano", *ours[1:]) - table.at("AP", *ours)
    return (
        f"On coco-val the models that ship reach {table.at('AP', *ours):.1f} "
        "keypoint AP; YOLOX-nano with TinyPose, published models, reach "
        f"{table.at('AP', 'yolox_nano', 'TinyPose', 'no'):.1f}. Most of that is the pose model: in "
        f"true boxes ours reaches {table.at('AP', 'true boxes', *ours[1:]):.1f} and "
        f"TinyPose {table.at('AP', 'true boxes', 'TinyPose', 'no'):.1f} (`pose-lite`, the quicker "
        f"one that ships, {table.at('AP', 'true boxes', 'pose-lite', ours[2]):.1f}), while "
        f"YOLOX-nano in the place of our detector changes AP by {changed:+.1f}. In these figures "
        "our pose models have the STN before them, as they ship, and TinyPose has none; the page's "
        "plot and first table are without the STN."
    )


def own_pose(read: Read) -> str:
    """What the pose model that ships is called in the table of the STN that ships."""
    names = [row[0] for row in read("sstn-shipped-ap").rows]
    return next(name for name in names if name != "TinyPose" and "STN" not in name)


def answer_boxes(read: Read) -> str:
    paired = read("sstn-shipped-paired")
    models = read("default-models")
    own = own_pose(read)
    tiny_row, own_row = ((f"{name} behind the STN", name, "AP") for name in ("TinyPose", own))
    gain = "gain with STN"
    return (
        "On boxes of IoU 0.5 with the person the STN that ships changes TinyPose's AP by "
        f"{points(paired.at('IoU 0.5', *tiny_row))} and that of the pose model that ships by "
        f"{points(paired.at('IoU 0.5', *own_row))}, on exact boxes by "
        f"{points(paired.at('IoU 1.0', *tiny_row))} and {points(paired.at('IoU 1.0', *own_row))}. "
        "On a detector's own boxes, which are mostly good, it changes the models that ship by "
        f"{points(models.at(gain, 'default detector', 'default pose', 'yes'))} and YOLOX-nano with "
        f"TinyPose by {points(models.at(gain, 'yolox_nano', 'TinyPose', 'yes'))}."
    )


def answer_nms(read: Read) -> str:
    ap = read("pose_nms_ap_coco_val")
    time = read("pose_nms_time")
    less = "ours - this"
    return (
        f"On redundant proposals parametric pose NMS is worth {ap.at(less, 'none'):.1f} AP, and it "
        f"is {ap.at(less, 'box NMS 0.6'):.1f} AP ahead of box NMS, "
        f"{ap.at(less, 'OKS-NMS 0.9'):.1f} ahead of OKS-NMS and "
        f"{ap.at(less, 'soft OKS-NMS'):.1f} ahead of soft OKS-NMS. With 200 candidates it takes "
        f"{time.at('ours (ms)', 'crowd', 200):.1f} ms on one thread; OKS-NMS takes "
        f"{time.at('OKS-NMS (ms)', 'crowd', 200):.0f} ms, and the authors published "
        f"{time.at('authors (ms)', 'crowd', 200):.0f} ms for theirs, on another machine."
    )


# The tables of rarer detections and what their rows begin with: a real clip, and made ones.
RARER: tuple[tuple[str, tuple[Cell, ...]], ...] = (
    ("detect-interval-real", ()),
    ("detect-interval-articulated", (4,)),
)


def detect_every(read: Read, every: str) -> list[tuple[float, float]]:
    """In a real clip and in made ones: times the speed of every frame, and the change of AP."""
    found = []
    for name, kind in RARER:
        table = read(name)
        row, whole = ((*kind, "moved by flow, SSTN", which) for which in (every, "1"))
        faster = table.at("frames/s", *row) / table.at("frames/s", *whole)
        found.append((faster, table.at("AP", *row) - table.at("AP", *whole)))
    return found


def stn_between(read: Read, every: str) -> list[str]:
    """In a real clip and in made ones: what the STN changes, with intervals."""
    return [
        read(name).at("against moved by flow", *kind, "moved by flow, SSTN", every)
        for name, kind in RARER
    ]


def answer_video(read: Read) -> str:
    (fast5, more5), (fast5_made, more5_made) = detect_every(read, "5")
    (fast10, more10), (fast10_made, more10_made) = detect_every(read, "10")
    stn5, stn5_made = map(points, stn_between(read, "5"))
    stn10, stn10_made = map(points, stn_between(read, "10"))
    tracking = read("tracking")
    flow = next(row[1] for row in tracking.rows if row[0] == 10 and "ahead" in row[1])
    return (
        f"Detecting on every fifth frame gives {fast5:.1f} times the frames a second in a real "
        f"clip and changes AP by {more5:+.1f}; in made clips of people who swing their limbs, "
        f"{fast5_made:.1f} times and {more5_made:+.1f}. Every tenth frame gives {fast10:.1f} times "
        f"and {more10:+.1f}, and {fast10_made:.1f} times and {more10_made:+.1f}. The STN "
        f"changes AP by {stn5} and {stn5_made} at every fifth "
        f"frame, by {stn10} and {stn10_made} at every tenth. At ten frames a second "
        f"PoseFlow keeps ids with an IDF1 of {tracking.at('IDF1', 10, flow):.0f} for "
        f"{tracking.at('ms a frame', 10, flow):.1f} ms a frame, the OKS tracker with "
        f"{tracking.at('IDF1', 10, 'oks'):.0f} for {tracking.at('ms a frame', 10, 'oks'):.1f} ms."
    )


def answer_speed(read: Read) -> str:
    table = read("default-speed")
    ours, rival = "the models that ship", "yolox_nano + TinyPose"
    one, ten = (f"images/s, {count} people" for count in (1, 10))
    lite = f"{ours}, pose-lite"
    return (
        f"On two CPU threads the models that ship handle {table.at(one, ours):.0f} photos of one "
        f"person a second and {table.at(ten, ours):.0f} of ten people, "
        f"{table.at(one, ours) / table.at(one, rival):.1f} and "
        f"{table.at(ten, ours) / table.at(ten, rival):.1f} times as many as YOLOX-nano with "
        f"TinyPose; with the quicker pose model, `--pose pose-lite`, {table.at(one, lite):.0f} "
        f"and {table.at(ten, lite):.0f}. From a cold start `rmpe predict` answers in "
        f"{table.at('cold start s', ours):.2f} s, within {table.at('peak MB', ours):.0f} MB."
    )


DEFAULT = Script("models.default", "How good are the models that ship?", "-")
DETECTORS = Script("models.detectors", "How good are the detector's boxes and scores?", "10 s")
INT8 = Script(
    "models.int8",
    "What does int8 cost in AP?",
    "-",
    "models/pose-hr.safetensors",
)
SCORES = Script("models.scores", "What should a pose's score be made of?", "3 min")
MPII = Script("mpii.photos", "What do the models reach on the paper's own photos, MPII's?", "-")
SSTN = Script("boxes.sstn", "Does the STN that ships mend loose boxes?", "3 min")
SSTN_KEEP = Script(
    "boxes.sstn_keep", "Which proposals should the STN leave alone, and look at twice?", "10 min"
)
TABLE3 = Script(
    "boxes.sstn",
    "What do loose boxes cost the nets of Table 3?",
    "-",
    "--ablation configs/ablation_coco_val.toml",
)
ABLATION = Script(
    "boxes.ablation",
    "What is each part of the method worth (Table 3)?",
    "-",
    "configs/ablation_coco_val.toml",
)
PGPG = Script("boxes.pgpg", "Does PGPG fit the errors of the detector that ships?", "20 s")
POSE_NMS = Script("nms.pose_nms", "What is pose NMS worth, and how long does it take?", "-")
CROWDS = Script(
    "crowds.association",
    "Does it pay to share joints out among people who overlap?",
    "-",
    "--model pose-lite=src/rmpe/data/models/pose-lite.onnx --model mu0.5=runs/gate/0.5/sppe.onnx"
    " --model mu0=runs/gate/0/sppe.onnx",
)
TRACKERS = Script("video.trackers", "Which tracker keeps people's ids?", "-")
INTERVAL = Script("video.detect_interval", "How seldom may the detector run?", "6 min")
INTERVAL_REAL = Script(
    "video.detect_interval_real",
    "How seldom may it run in a real clip, and does the STN mend the boxes between?",
    "5 min",
    "--frames 240",
)
PEDESTRIANS = Script("video.pedestrians", "Do the ids hold in a real clip?", "2 min")
WALKER = Script("kinematics.made_walker", "How exact are angles, by filter?", "1 min")
JITTER = Script("kinematics.jitter", "How much jitter do the filters take away?", "30 s", "ped")
SPORTS2D = Script(
    "kinematics.sports2d",
    "Are the angles those of Sports2D?",
    "1 min",
    "ped --video pedestrians.mp4 --python s2d/bin/python",
)
SPEED = Script("speed.default", "How fast are the models that ship?", "-")
ENGINES = Script(
    "speed.pose_engines", "Which engine and precision runs the pose net fastest?", "4 min"
)
TRAINING = Script("speed.training", "What bounds the speed of training?", "2 min")
MEMORY = Script("speed.memory", "Does memory stay flat?", "-")
INSTALL = Script("speed.install", "How large is the package, installed?", "15 s")
FARM_COST = Script("farm.cost", "What does `rmpe farm` cost beside `rmpe predict`?", "10 min")
FARM_KILLS = Script("farm.kills", "What does a run on Ray survive?", "20 min")
FARM_SCALE = Script(
    "farm.scale", "Does `rmpe farm` bear a million photos and 64 workers?", "10 min"
)
HOSTILE = Script(
    "robustness.hostile_publisher", "Does a bad download ever install a wrong model?", "9 min"
)
SERVE = Script(
    "serve.acceptance", "Does the service keep up with the library, and stand what comes?", "20 min"
)
SCRIPTS = (
    *(DEFAULT, DETECTORS, INT8, SCORES, MPII, HOSTILE),
    *(SSTN, SSTN_KEEP, TABLE3, PGPG, ABLATION),
    *(POSE_NMS, CROWDS),
    *(INTERVAL, INTERVAL_REAL, TRACKERS, PEDESTRIANS),
    *(WALKER, JITTER, SPORTS2D),
    *(SPEED, ENGINES, TRAINING, MEMORY, INSTALL, SERVE),
    *(FARM_COST, FARM_KILLS, FARM_SCALE),
)
OTHERS = {
    "crowds.collages": "makes the crowds whose joints are known, for `crowds.association`.",
    "models.choose": "compares checkpoints that might ship on the photos on which that is decided.",
    "models.ship": "exports the models that ship and writes their figures on their cards.",
    "video.ghosts": "shows what the rule on ghosts takes away, and how many people with it.",
    "serve.screenshot": "takes the picture of the page of `rmpe serve`.",
    "front_door.hero": "draws the picture at the top of README.",
    "render": "writes the pages of results, their plots and this index.",
}
ABLATED = dict.fromkeys(("AP", "difference", "published", "published difference"), 1)

MODELS = Page(
    "models",
    "How good are the models that ship?",
    answer_models,
    plots.models,
    "docs/results/models.png",
    ("default-models",),
    "Keypoint AP of the models that ship and of published ones on several kinds of boxes, without"
    " the STN",
    (
        Table(
            "default-models",
            DEFAULT,
            names=2,
            digits=dict.fromkeys(
                ("AP", "+-", "AP50", "AP75", "AP_medium", "AP_large", "AP sparse", "AP crowded"), 1
            ),
            show=(
                *("boxes", "pose model", "AP", "+-", "AP50", "AP75"),
                *("AP_medium", "AP_large", "AP sparse", "AP crowded"),
            ),
            heads={"AP_medium": "AP medium", "AP_large": "AP large"},
            where={"STN": "no"},
            title="The models that ship, without the STN",
        ),
        Table(
            "detectors",
            DETECTORS,
            points=("AP", "AP50", "AP75", "recall50", "recall50 crowded"),
            digits={
                **dict.fromkeys(("AP", "AP50", "AP75", "recall50", "recall50 crowded"), 1),
                **dict.fromkeys(("false at 0.05", "false at 0.3"), 2),
                "ms": 1,
            },
            show=(
                *("detector", "input", "AP", "AP50", "AP75", "recall50", "recall50 crowded"),
                *("false at 0.05", "false at 0.3", "ms"),
            ),
        ),
        Table(
            "detectors-reliability",
            DETECTORS,
            names=2,
            digits={"mean score": 2, "share that hits": 2},
        ),
        Table(
            "mpii-multi-person",
            MPII,
            names=5,
            digits=dict.fromkeys(("mAP", "recall", "difference"), 1),
        ),
        Table("mpii-pckh", MPII, names=3, digits={"PCKh@0.5": 1}),
        Table("int8-ap", INT8, digits={"AP": 1, "mean OKS": 1, "CPU ms a person": 1}),
        Table(
            "pose-scores",
            SCORES,
            names=2,
            digits={"AP": 1},
            heads={"models": "models, ours with the STN"},
        ),
        Table(
            "photo_steps",
            None,
            closed="the steps that are default each win AP",
            points=("AP", "AP50", "AP75", "gain on the step before", "95 % interval"),
            digits=dict.fromkeys(("AP", "AP50", "AP75", "gain on the step before"), 1),
        ),
        Table(
            "failure_cases",
            None,
            closed="counted for published models, on photos that do not change",
            digits={"share failing [%]": 1, "others failing [%]": 1},
        ),
        Table("hostile_publisher", HOSTILE),
    ),
)
BOXES = Page(
    "boxes",
    "What do loose boxes cost, and what brings it back?",
    answer_boxes,
    plots.sstn,
    "docs/sstn_proof.png",
    ("sstn-shipped-ap",),
    "Keypoint AP against the IoU of the box, with and without the STN that ships",
    (
        Table("sstn-shipped-ap", SSTN, digits={**dict.fromkeys(IOUS, 1), "CPU ms a person": 1}),
        Table(
            "sstn-shipped-paired",
            SSTN,
            names=2,
            show=("method", "figure", *IOUS, "loss at .6", "loss at .5"),
        ),
        Table("sstn-shipped-oks", SSTN, digits={**dict.fromkeys(IOUS, 1), "CPU ms a person": 1}),
        Table("sstn-keep", SSTN_KEEP, names=3, digits={"kept from overlap": 2}),
        Table(
            "default-models",
            DEFAULT,
            names=2,
            digits={"AP": 1, "+-": 1},
            show=("boxes", "pose model", "AP", "+-", "gain with STN"),
            heads={"AP": "AP with STN"},
            where={"STN": "yes"},
            title="The STN that ships, on a detector's boxes and on others",
        ),
        Table("ablation-coco-val", ABLATION, digits=ABLATED),
        Table("sstn-table3-ap", TABLE3, digits={**dict.fromkeys(IOUS, 1), "CPU ms a person": 1}),
        *(
            Table(
                "sstn-table3-paired",
                TABLE3,
                names=2,
                where={"figure": figure},
                title=f"The nets of Table 3: {figure} against the control, paired",
            )
            for figure in ("AP", "OKS")
        ),
        Table("sstn-table3-oks", TABLE3, digits={**dict.fromkeys(IOUS, 1), "CPU ms a person": 1}),
        Table(
            "pgpg-shipped",
            PGPG,
            show=(
                *("boxes", "pairs", *OFFSETS, "% found", "median IoU"),
                *("by YOLOX-nano's PGPG", ("by its own", "atoms x parts")),
            ),
            heads={**OFFSET_HEADS, ("by its own", "atoms x parts"): "by its own (atoms x parts)"},
            digits={
                **OFFSET_DIGITS,
                "% found": 1,
                "median IoU": 2,
                "by YOLOX-nano's PGPG": 2,
                "by its own": 2,
            },
        ),
        Table("ablation-pgpg-sizes", ABLATION, digits={"AP": 1, "difference": 1}),
        Table(
            "pgpg-yolox",
            None,
            closed="a detector errs as much on photos it was trained on",
            names=2,
            show=("boxes", "IoU cut", "pairs", *OFFSETS),
            heads=OFFSET_HEADS,
            digits={**OFFSET_DIGITS, "IoU cut": 1},
        ),
        Table(
            "pgpg-authors",
            None,
            closed="no Gaussian an edge describes the errors of the authors' detector",
            names=2,
            show=("boxes", "IoU cut", "pairs", *OFFSETS),
            heads=OFFSET_HEADS,
            digits={**OFFSET_DIGITS, "IoU cut": 1},
        ),
        Table(
            "pgpg-authors-likelihood",
            None,
            closed="PGPG explains the authors' boxes better than the later release",
            names=4,
            digits={"log-likelihood a box": 2, "gain over the release": 2},
        ),
        Table(
            "pgpg-matching",
            None,
            closed="each true box takes its best detection",
            show=("rule", "IoU cut", "pairs", *OFFSETS),
            heads=OFFSET_HEADS,
            digits={**OFFSET_DIGITS, "IoU cut": 1},
        ),
        Table(
            "pgpg-sizes",
            None,
            closed="atoms share 16 parts; the pose matters little",
            names=3,
            digits={
                "log-likelihood a person": 3,
                "gain over best single atom": 3,
                "standard error": 3,
            },
        ),
    ),
)
NMS = Page(
    "nms",
    "What is pose NMS worth, and what does it cost?",
    answer_nms,
    plots.nms,
    "docs/results/nms.png",
    ("pose_nms_ap_coco_val",),
    "Keypoint AP of redundant proposals after each kind of NMS",
    (
        Table("pose_nms_ap_coco_val", POSE_NMS, digits={"AP": 1, "ours - this": 1}),
        Table(
            "pose_nms_time",
            POSE_NMS,
            names=2,
            digits={
                **dict.fromkeys(("ours (ms)", "OKS-NMS (ms)", "2016 rule, our code (ms)"), 2),
                **dict.fromkeys(("authors (ms)", "authors / ours"), 0),
            },
        ),
        Table("crowds-gate", CROWDS, names=2, digits={"best peak": 1}),
        Table(
            "crowds-ap",
            CROWDS,
            names=3,
            digits=dict.fromkeys(("AP", "easy", "medium", "hard", "crowded"), 1),
        ),
        Table("ablation-sensitivity", ABLATION, digits={"AP": 1, "difference": 1}),
    ),
)
VIDEO = Page(
    "video",
    "How seldom may the detector run in a video, and do people keep their ids?",
    answer_video,
    plots.video,
    "docs/detect_interval.png",
    ("detect-interval-real", "detect-interval-articulated"),
    "Keypoint AP against frames a second, for detections on every frame, every 5th, every 10th",
    (
        Table(
            "detect-interval-real",
            INTERVAL_REAL,
            names=2,
            digits=dict.fromkeys(("frames/s", "frames detected, %", "AP", "AP50"), 1),
        ),
        *(
            Table(
                name,
                INTERVAL,
                names=3,
                digits=dict.fromkeys(("frames/s", "frames detected, %", "AP", "AP50", "IDF1"), 1),
            )
            for name in ("detect-interval-articulated", "detect-interval")
        ),
        Table(
            "tracking",
            TRACKERS,
            names=2,
            show=(
                *("frames a second", "tracker", "MOTA", "IDF1", "HOTA", "switches", "ids"),
                *("misses", "false people", "ms a frame"),
            ),
            digits=dict.fromkeys(("MOTA", "IDF1", "HOTA", "ms a frame"), 1),
        ),
        Table(
            "poseflow-cost",
            None,
            closed="a few milliseconds, for twenty people too",
            digits={"poseflow, ms": 1, "oks, ms": 1},
        ),
        Table("pedestrians", PEDESTRIANS),
        Table(
            "kinematics-walker",
            WALKER,
            names=3,
            digits={"angles, °": 1, "knees, °": 1, "joints, mm": 0, "missing, %": 1},
        ),
        Table(
            "kinematics-jitter",
            JITTER,
            digits={
                **dict.fromkeys(("hip", "knee", "shoulder", "elbow", "trunk", "head"), 1),
                "share left": 2,
                "made walker, off by": 1,
            },
        ),
        Table(
            "kinematics-sports2d",
            SPORTS2D,
            names=2,
            digits={"within 1°, %": 1, "half a turn off, %": 1, "largest, °": 4},
        ),
        Table("video-memory", MEMORY, names=2, digits={"peak memory so far, MB": 0}),
    ),
)
SPEED_PAGE = Page(
    "speed",
    "How fast is it, in how much memory?",
    answer_speed,
    plots.speed,
    "docs/results/speed.png",
    ("default-speed",),
    "Photos a second against the number of people in the photo",
    (
        Table(
            "default-speed",
            SPEED,
            digits={
                **{f"images/s, {count} people": 1 for count in (1, 3, 10)},
                **{"detector ms": 1, "ms a further person": 1, "cold start s": 2, "peak MB": 0},
            },
            heads={
                "images/s, 1 people": "photos/s, 1 person",
                "images/s, 3 people": "photos/s, 3 people",
                "images/s, 10 people": "photos/s, 10 people",
            },
        ),
        Table(
            "throughput",
            None,
            closed="photos side by side make `rmpe predict` fast, not batches",
            digits={"images/s": 2, "times the plain loop": 2},
        ),
        Table("memory", MEMORY, digits={"peak MB": 0}),
        Table("serve", SERVE, names=2, mixed=("measured", "wanted")),
        Table(
            "farm-cost",
            FARM_COST,
            digits={
                "CPU s": 1,
                "times predict": 2,
                "wall s": 0,
                "CPU s a further photo": 3,
                "times predict's": 2,
            },
        ),
        Table("farm-kills", FARM_KILLS, across=True),
        Table(
            "farm-million",
            FARM_SCALE,
            digits={"wall s": 1, "CPU s": 1, "peak MB": 0, "object store MB": 0},
        ),
        Table("farm-scaling", FARM_SCALE, digits={"shards/s": 2, "share of the ideal": 3}),
        Table(
            "pose-engines",
            ENGINES,
            names=4,
            digits={
                "ms a person, batch 1": 1,
                "ms a person, batch 8": 1,
                "GFLOP a person": 2,
                "share of the fp32 peak, batch 1": 2,
            },
        ),
        Table("ablation-coco-val-cost", ABLATION, digits={"ms": 2}),
        Table(
            "ssd512-time",
            None,
            closed="it runs at nearly the processor's peak",
            digits={
                **dict.fromkeys(("GFLOP", "ms", "GFLOP/s", "matrix product GFLOP/s"), 0),
                "share of it": 2,
            },
        ),
        Table(
            "train-speed",
            TRAINING,
            digits={
                **{
                    f"{part}, % of a step": 0
                    for part in ("augmentation", "forward", "backward", "optimiser")
                },
                "images a second": 1,
                "GFLOP an image": 2,
                "share of the fp32 peak": 2,
            },
        ),
        Table("install", INSTALL, across=True, names=0),
        Table(
            "evaluation",
            None,
            closed="ours equals the references and is faster",
            digits={"ours [s]": 3, "reference [s]": 3, "times faster": 1, "largest difference": 6},
        ),
    ),
)
PAGES = (MODELS, BOXES, NMS, VIDEO, SPEED_PAGE)
