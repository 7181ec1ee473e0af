"""``rmpe ablate CONFIG``, and its table recorded as NAME (left out: the configuration's name).

The time of each module is recorded as NAME-cost if it was measured. All that ``rmpe ablate`` kept
is used; ``--no-train`` leaves unfinished rows out.
"""

import json
from pathlib import Path

import click

from benchmarks.options import benchmark
from benchmarks.record import record
from rmpe.ablation.ablate import ablate
from rmpe.ablation.plan import AblationConfig
from rmpe.config import load_config


@benchmark("save")
@click.argument("config", type=click.Path(exists=True, path_type=Path))
@click.option("--set", "overrides", multiple=True, help="Override a value, as in rmpe ablate.")
@click.option("--no-train", is_flag=True)
@click.option("--name", help="Of the record.")
@click.option("--title", default="Ablation, the rows of the paper's Table 3", show_default=True)
def main(config, overrides, no_train, name, title, save):
    name = name or config.stem.replace("_", "-")
    command = ["rmpe ablate", config.as_posix(), *(f"--set {one}" for one in overrides)]
    plan = load_config(AblationConfig, config, list(overrides))
    ablate(plan, print, train=not no_train)
    print((plan.out / "ablation.md").read_text("utf-8"))
    if not save:
        return
    table = json.loads((plan.out / "ablation.json").read_text("utf-8"))
    about = {
        "command": " ".join(command),
        "data": f"{plan.data.annotations.parent.name}, {Path(plan.detector).name}",
    }
    record(
        name,
        title=title,
        columns=table["columns"],
        rows=table["rows"],
        notes=table["notes"],
        **about,
    )
    if costs := table["milliseconds"]:
        record(
            f"{name}-cost",
            title=f"{title}: time of each module",
            columns=["module", "ms"],
            rows=[[module, milliseconds] for module, milliseconds in costs.items()],
            notes=(
                f"Medians over {plan.cost} photos, one at a time, of the row "
                f"{table['lines'][0]['title']!r}."
            ),
            **about,
        )


if __name__ == "__main__":
    main()
