"""The figures in README and docs are the recorded ones.

A claim is found by its words, so that a sentence can be rewritten as long as its words and figures
stay together: some sentence of the document holds all words of the claim, and with them every
figure, rounded as it is written there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from conftest import ROOT

from benchmarks.pages import chance, detect_every, stn_between
from benchmarks.record import read
from rmpe.catalogue import shipped_catalogue

SPEED = read("default-speed")
MODELS = read("default-models")
INTERVAL = read("detect-interval")
OURS = "the models that ship"
RIVAL = "yolox_nano + TinyPose"
TEN = "images/s, 10 people"
UNIT = "(?:AP|points?|ms|MB|times)"


@dataclass(frozen=True)
class Claim:
    """What a document says, and what was recorded.

    Attributes:
        document: From the repository's root.
        words: That its sentence holds, whatever their case.
        figures: The recorded values, with the decimals that the document gives them.
    """

    document: str
    words: tuple[str, ...]
    figures: Callable[[], list[tuple[float, int]]]

    def __str__(self) -> str:
        return f"{self.document}: {', '.join(self.words)}"


def ap(boxes: str, pose: str, stn: str) -> float:
    return MODELS.at("AP", boxes, pose, stn)


def stn_gain(boxes: str, pose: str) -> float:
    return ap(boxes, pose, "yes") - ap(boxes, pose, "no")


def every(frames: str) -> list[tuple[float, int]]:
    """Speed and change of AP of rarer detections, each in a real clip and in made ones."""
    return [(value, 1) for pair in zip(*detect_every(read, frames), strict=True) for value in pair]


def stn_gains() -> list[tuple[float, int]]:
    """What the STN on carried boxes changes at every fifth and tenth frame, in both clips."""
    gains = [each for frames in ("5", "10") for each in stn_between(read, frames)]
    return [(float(each.split()[0]) + 0.0, 1) for each in gains]  # -0.0 is 0.0


def augmentation() -> list[tuple[float, int]]:
    """The share of a training step: the least and most of the nets' rows, and of the cheapest."""
    table = read("train-speed")
    name = "augmentation, % of a step"
    cheapest = table.at(name, "lite 128x96, early blocks frozen")
    others = [row[table.columns.index(name)] for row in table.rows]
    others.remove(cheapest)
    return [(min(others), 0), (max(others), 0), (cheapest, 0)]


def detector_ms(name: str) -> tuple[float, int]:
    return (read("detectors").at("ms", name), 1)


def auto_cost(way: str, against: str) -> tuple[float, int]:
    """What ``auto`` costs among few people."""
    few = min(row[0] for row in INTERVAL.rows)
    often = "1" if way == against else "auto"
    return (INTERVAL.at("AP", few, against, often) - INTERVAL.at("AP", few, way, "auto"), 1)


def shipped_megabytes() -> float:
    return sum(file.stat().st_size for file in (ROOT / "src/rmpe/data/models").glob("*")) / 1e6


def published_ap(name: str) -> tuple[float, int]:
    """What the catalogue says of a published model."""
    entry = next(model for model in shipped_catalogue().models if model.name == name)
    return (entry.ap or 0, 1)


def crowds(column: str, *row: str) -> tuple[float, int]:
    """The middle of a difference of the gate of association."""
    return (float(read("crowds-gate").at(column, *row).split()[0]), 1)


def crowds_ap(model: str, association: str, suppression: str) -> tuple[float, int]:
    """What an association costs in AP against pose NMS alone."""
    difference = read("crowds-ap").at("difference", model, association, suppression)
    return (-float(difference.split()[0]), 1)


def made_crowds(words: str, model: str) -> Claim:
    """What a perfect choice among a model's candidates gains in made crowds, and the graph."""
    return Claim(
        "docs/crowds.md",
        (words, "made crowds", "perfect choice", "the graph"),
        lambda: [crowds(column, "made crowds", model) for column in ("oracle", "paper's graph")],
    )


CLAIMS = [
    made_crowds("mu = 0.5", "mu0.5"),
    made_crowds("mu = 0,", "mu0"),
    made_crowds("shipped model", "pose-lite"),
    Claim(
        "docs/crowds.md",
        ("shipped detector's boxes", "costs", "AP"),
        lambda: [
            crowds_ap("pose-lite", "paper", "parametric"),
            crowds_ap("mu0.5", "paper", "parametric"),
        ],
    ),
]
CLAIMS += [
    Claim("README.md", ("RTMPose-m", "published", "AP"), lambda: [published_ap("rtmpose-m")]),
    Claim("README.md", ("MB", "models"), lambda: [(shipped_megabytes(), 0)]),
    Claim(
        "docs/kinematics.md",
        ("knee", "walks past", "degrees"),
        lambda: [(read("kinematics-jitter").at("knee", "made walker: true"), 0)],
    ),
    Claim(
        "README.md",
        ("YOLOX-nano with TinyPose", "ten people", "AP"),
        lambda: [
            (ap("default detector", "default pose", "yes"), 0),
            (ap("yolox_nano", "TinyPose", "no"), 0),
            (SPEED.at(TEN, OURS) / SPEED.at(TEN, RIVAL), 1),
        ],
    ),
    Claim(
        "README.md",
        ("`--pose pose-lite`", "AP", "times"),
        lambda: [
            (ap("default detector", "pose-lite", "yes"), 0),
            (SPEED.at(TEN, f"{OURS}, pose-lite") / SPEED.at(TEN, RIVAL), 1),
        ],
    ),
    Claim(
        "README.md",
        ("IoU of 0.5", "gains", "TinyPose", "AP"),
        lambda: [
            (stn_gain("boxes of IoU 0.5", "TinyPose"), 0),
            (stn_gain("boxes of IoU 0.5", "default pose"), 0),
        ],
    ),
    Claim("README.md", ("--detect-every 5", "--detect-every 10", "AP"), lambda: every("5")),
    Claim("README.md", ("--detect-every 5", "--detect-every 10", "AP"), lambda: every("10")),
    Claim(
        "docs/detectors.md",
        ("int8", "fp32", "ms"),
        lambda: [
            detector_ms("rmpe person detector, small"),
            detector_ms("rmpe person detector, small, int8"),
        ],
    ),
    Claim("docs/training.md", ("augmentation takes", "step"), lambda: augmentation()[:2]),
    Claim("docs/training.md", ("128x96", "early blocks", "%"), lambda: augmentation()[2:]),
    Claim("docs/video.md", ("every fifth frame", "every tenth frame"), lambda: every("5")),
    Claim("docs/video.md", ("every fifth frame", "every tenth frame"), lambda: every("10")),
    Claim("docs/video.md", ("transformer", "between detections", "changes"), stn_gains),
    Claim(
        "docs/video.md",
        ("`auto`", "points", "among two"),
        lambda: [auto_cost("moved by flow", "moved by flow")],
    ),
    Claim(
        "docs/video.md",
        ("transformer", "`auto`", "points"),
        lambda: [auto_cost("moved by flow, SSTN", "moved by flow")],
    ),
    Claim(
        "docs/ablation.md",
        ("SSD-512 takes", "hourglass"),
        lambda: [
            (read("ssd512-time").at("ms", "SSD-512 (VGG-16)") / 1000, 2),
            (
                read("pose-engines").at(
                    "ms a person, batch 1",
                    "hourglass-4 256x256",
                    "in crop, ResNet-18",
                    "ONNX Runtime",
                    "fp32",
                )
                / 1000,
                2,
            ),
        ],
    ),
]


def sentences(markdown: str) -> list[str]:
    """The sentences of a document's paragraphs and list items, each on one line."""
    blocks = re.split(r"\n\s*\n|\n(?=\s*[-|#])", markdown)
    return [
        sentence
        for block in blocks
        for sentence in re.split(r"(?<=[.!?]) +(?=[A-Z`*])", " ".join(block.split()))
    ]


def unsupported(markdown: str, claim: Claim) -> str | None:
    """What is wrong with a claim in a document; None if it holds."""
    found = [
        sentence
        for sentence in sentences(markdown)
        if all(word.lower() in sentence.lower() for word in claim.words)
    ]
    if not found:
        return f"no sentence says anything about {claim.words}"
    figures = [f"{value:.{decimals}f}" for value, decimals in claim.figures()]
    missing = [
        [figure for figure in figures if not re.search(rf"(?<![\d.]){figure}(?!\.?\d)", sentence)]
        for sentence in found
    ]
    return None if [] in missing else f"recorded: {figures}; written: {found}"


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_documents_figures_are_the_recorded_ones(claim) -> None:
    wrong = unsupported((ROOT / claim.document).read_text("utf-8"), claim)
    assert wrong is None, wrong


@pytest.mark.parametrize("frames", ["5", "10"])
def test_what_docs_video_says_of_the_stn_and_chance(frames) -> None:
    assert {chance(each) for each in stn_between(read, frames)} == {"within chance"}


def test_kinematics_says_what_was_measured() -> None:
    """docs/kinematics.md: what it says of the spline in words."""
    assert read("kinematics-jitter").at("share left", "spline") < 1 / 3
    walker = read("kinematics-walker")
    joints = []
    for height, noise in {(row[0], row[1]) for row in walker.rows}:
        spline, other = (
            [walker.at(name, height, noise, filter_) for name in ("angles, °", "joints, mm")]
            for filter_ in ("spline", "butterworth")
        )
        assert spline[0] < other[0], (height, noise)
        joints.append(spline[1] - other[1])
    assert (round(-min(joints)), round(max(joints), 1)) == (20, 1.5)
    theirs = read("kinematics-sports2d")
    assert {row[theirs.columns.index("within 1°, %")] for row in theirs.rows} == {100.0}


def measured(markdown: str) -> list[str]:
    """The numbers that stand before a unit of measurement."""
    text = " ".join(markdown.split())
    pairs = re.findall(rf"(?<![\w.])(\d+(?:\.\d+)?)(?: (?:to|and) (\d+(?:\.\d+)?))? {UNIT}\b", text)
    return [number for pair in pairs for number in pair if number]


def test_every_figure_of_the_readme_has_a_claim() -> None:
    claimed = {
        f"{value:.{decimals}f}"
        for claim in CLAIMS
        if claim.document == "README.md"
        for value, decimals in claim.figures()
    }
    assert set(measured((ROOT / "README.md").read_text("utf-8"))) <= claimed


@pytest.mark.parametrize(
    ("markdown", "numbers"),
    [
        ("", []),
        ("version 3.11, 5 photos", []),
        ("up to 11 points, 41\nAP and 2.5 times", ["11", "41", "2.5"]),
        ("1.6 to 2.0 times for 1.4 points", ["1.6", "2.0", "1.4"]),
    ],
)
def test_a_number_before_a_unit_is_a_figure(markdown, numbers) -> None:
    assert measured(markdown) == numbers


@pytest.mark.parametrize(
    ("markdown", "holds"),
    [
        ("", False),
        ("It takes 13.3 ms in fp32.", True),
        ("It takes\n13.3 ms in\nfp32. So there.", True),
        ("- other\n- fp32: 13.3 ms", True),
        ("It takes 13.30 ms in fp32.", False),
        ("It takes 113.3 ms in fp32.", False),
        ("It takes 15 ms in fp32.", False),
        ("It takes 13.3 ms. So does fp32.", False),
        ("It takes 13.3 s in fp32.", False),
    ],
)
def test_a_claim_needs_its_words_and_its_figure_in_one_sentence(markdown, holds) -> None:
    claim = Claim("x.md", ("fp32", " ms"), lambda: [(13.321, 1)])
    assert (unsupported(markdown, claim) is None) == holds
