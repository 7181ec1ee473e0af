"""The table of an ablation with published figures, and its plots."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmpe.ablation.plan import AblationConfig, Setting
from rmpe.atomic import atomic
from rmpe.evaluation.figures.bootstrap import Comparison
from rmpe.evaluation.figures.plots import curves, differences

COLUMNS = [
    "row",
    "AP",
    "difference",
    "95 % interval",
    "each seed",
    "published",
    "published difference",
    "reproduced",
]


@dataclass(frozen=True)
class Line:
    """A row with its figures, all in percent.

    Attributes:
        title: Title of the row.
        figure: The measured figure.
        difference: Difference to the first row; negative is worse.
        low: Lower end of the paired 95 % interval of the difference.
        high: Upper end of the interval.
        paper: The published figure.
        paper_difference: The published difference to the first row.
        varied: Name of the varied number, if any.
        value: Its value.
        seeds: The difference with each seed, where rows have several.
    """

    title: str
    figure: float
    difference: float
    low: float
    high: float
    paper: float | None = None
    paper_difference: float | None = None
    varied: str = ""
    value: float = 0.0
    seeds: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        setting: Setting,
        compared: Comparison,
        scale: float,
        first: Setting,
        seeds: list[float],
    ) -> "Line":
        """A line from a comparison with the first row; ``scale`` converts figures to percent."""
        published = (
            None
            if setting.paper is None or first.paper is None
            else round(setting.paper - first.paper, 6)
        )
        return cls(
            title=setting.title,
            figure=scale * compared.first,
            difference=scale * compared.difference,
            low=scale * compared.low,
            high=scale * compared.high,
            paper=setting.paper,
            paper_difference=published,
            varied=setting.varied,
            value=setting.value,
            seeds=tuple(scale * one for one in seeds),
        )

    @property
    def reproduced(self) -> str:
        """Whether the published sign is reproduced.

        Only if the interval excludes 0 and the seeds agree.
        """
        if not self.paper_difference:
            return ""
        if self.low <= 0 <= self.high:
            return "**no**: the interval contains 0"
        if any(one * self.difference < 0 for one in self.seeds):
            return "**no**: the seeds disagree"
        return "yes" if self.difference * self.paper_difference > 0 else "**no**: opposite sign"

    def cells(self) -> list[str | float | None]:
        """The cells of the line, one per entry of `COLUMNS`."""
        interval = f"{self.low:+.1f} .. {self.high:+.1f}" if self.low < self.high else ""
        return [
            self.title,
            round(self.figure, 1),
            round(self.difference, 1),
            interval,
            ", ".join(f"{one:+.1f}" for one in self.seeds if any(self.seeds)),
            self.paper,
            self.paper_difference,
            self.reproduced,
        ]


def order(lines: list[Line]) -> dict[str, list[str]]:
    """Titles of the rows with a published difference, from the largest loss to the smallest.

    Returns:
        The order by ``published`` and by ``measured`` difference.
    """
    both = [line for line in lines if line.paper_difference]
    return {
        "published": [
            line.title for line in sorted(both, key=lambda line: line.paper_difference or 0)
        ],
        "measured": [line.title for line in sorted(both, key=lambda line: line.difference)],
    }


def notes(config: AblationConfig, lines: list[Line], units: int) -> str:
    """The notes below the table."""
    ranks = order(lines)
    text = (
        f"{units} images of {config.data.annotations.as_posix()} ({config.data.protocol}), boxes of"
        f" {Path(config.detector).name} with a score of at least {config.score:g},"
        f" box NMS {config.box_nms:g}. Intervals are paired by image."
        " The difference is the row minus the first row."
    )
    if config.seeds:
        text += (
            f" Figures of trained nets are means of {len(config.seeds)} seeds;"
            " the intervals cover photos, not seeds."
        )
    if len(ranks["published"]) > 1:
        text += (
            f" Published: {config.published}. From the largest loss to the smallest, published:"
            f" {' > '.join(ranks['published'])}; measured: {' > '.join(ranks['measured'])}."
        )
    if failed := [line.title for line in lines if line.reproduced.startswith("**no**")]:
        text += f" **Not reproduced here:** {'; '.join(failed)}."
    return text


def write_report(
    config: AblationConfig, lines: list[Line], figure: str, units: int, costs: dict[str, float]
) -> list[Path]:
    """Write ``ablation.json``, ``ablation.md`` and the plots.

    Returns:
        The files written.
    """
    # A column that no row fills says nothing.
    columns = zip(COLUMNS, zip(*(line.cells() for line in lines), strict=True), strict=True)
    filled = {
        name: cells for name, cells in columns if any(cell not in (None, "") for cell in cells)
    }
    content: dict[str, Any] = {
        "figure": figure,
        "notes": notes(config, lines, units),
        "columns": list(filled),
        "rows": [list(row) for row in zip(*filled.values(), strict=True)],
        "lines": [asdict(line) for line in lines],
        "order": order(lines),
        "milliseconds": costs,
    }
    written = [config.out / "ablation.json", config.out / "ablation.md"]
    with atomic(written[0]) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
    with atomic(written[1]) as file:
        file.write(markdown(content).encode())
    table = [line for line in lines[1:] if not line.varied]
    if table:
        intervals = {line.title: (line.difference, line.low, line.high) for line in table}
        published = {
            line.title: line.paper_difference for line in table if line.paper_difference is not None
        }
        title = f"Contribution of each part: {figure} minus that of {lines[0].title!r}"
        written.append(
            differences(intervals, published, config.published, title, config.out / "ablation.png")
        )
    if varied := dict.fromkeys(line.varied for line in lines if line.varied):
        series = {name: [line for line in lines if line.varied == name] for name in varied}
        points = {
            name: [(line.value, line.difference, line.low, line.high) for line in some]
            for name, some in series.items()
        }
        written.append(
            curves(points, f"{figure} minus that of the first row", config.out / "sensitivity.png")
        )
    return written


def markdown(content: dict[str, Any]) -> str:
    """The table in Markdown."""
    rows = [content["columns"], ["---"] * len(content["columns"]), *content["rows"]]
    lines = [
        "| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |" for row in rows
    ]
    lines += ["", content["notes"]]
    if content["milliseconds"]:
        lines += ["", "| module | ms |", "| --- | --- |"]
        lines += [f"| {name} | {value:.2f} |" for name, value in content["milliseconds"].items()]
    return "\n".join(lines) + "\n"
