"""The ablation as a recorded table: ``rmpe ablate CONFIG``, and its table into docs/results.

    python benchmarks/ablation.py configs/ablation_coco_val.toml [--set detector=FILE] [--save]
    [--name NAME]

With ``--save`` the table is recorded as NAME (default: the configuration's name), and the time of
each module as NAME-cost if it was measured. All that ``rmpe ablate`` kept is used; ``--no-train``
leaves unfinished rows out.
"""

import argparse
import json
from pathlib import Path

from record import record

from rmpe.ablation.ablate import ablate
from rmpe.ablation.plan import AblationConfig
from rmpe.config import load_config


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--set", action="append", default=[], help="override a value, as of rmpe ablate"
    )
    parser.add_argument("--no-train", action="store_true")
    parser.add_argument("--name", help="of the record")
    parser.add_argument("--title", default="Ablation, the rows of the paper's Table 3")
    parser.add_argument("--save", action="store_true", help="record the table for docs/results.md")
    options = parser.parse_args()

    config = load_config(AblationConfig, options.config, options.set)
    ablate(config, print, train=not options.no_train)
    print((config.out / "ablation.md").read_text("utf-8"))
    if not options.save:
        return
    table = json.loads((config.out / "ablation.json").read_text("utf-8"))
    name = options.name or options.config.stem.replace("_", "-")
    command = " ".join(
        ["rmpe ablate", options.config.as_posix(), *(f"--set {one}" for one in options.set)]
    )
    data = f"{config.data.annotations.parent.name}, {Path(config.detector).name}"
    common = {"command": command, "data": data}
    record(
        name,
        title=options.title,
        columns=table["columns"],
        rows=table["rows"],
        notes=table["notes"],
        **common,
    )
    if costs := table["milliseconds"]:
        title = f"{options.title}: time of each module"
        rows = [[module, milliseconds] for module, milliseconds in costs.items()]
        first, notes = (
            table["lines"][0]["title"],
            f"medians over {config.cost} photos, one at a time",
        )
        record(
            f"{name}-cost",
            title=title,
            columns=["module", "ms"],
            rows=rows,
            notes=f"Row {first!r}; {notes}.",
            **common,
        )


if __name__ == "__main__":
    main()
