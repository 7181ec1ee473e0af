"""``rmpe kinematics``: angles, speeds and lengths from the results of ``rmpe track``."""

from pathlib import Path

import click

from rmpe.cli.commands import Number
from rmpe.cli.output import only_run_in
from rmpe.errors import DataError, UsageError
from rmpe.kinematics.angles import FACINGS, Facing
from rmpe.kinematics.cleaning import FILTERS, Cleaning, Filter
from rmpe.kinematics.measure import MeasureOptions
from rmpe.kinematics.report import measure_all, write_report
from rmpe.kinematics.scale import KnownLength
from rmpe.kinematics.tracks import choose, read_tracks
from rmpe.skeletons import load_skeleton


class Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # click 8.1 to 8.3
    """A number of seconds, with or without an ``s`` behind it."""

    name = "seconds"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        try:
            number = float(str(value).removesuffix("s"))
        except ValueError:
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        if not 0 <= number < 1e9:
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return number


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files; RESULTS/kinematics if not given.",
)
@click.option("--person", "people", type=int, multiple=True, help="Only this id; repeatable.")
@click.option("--start", type=Seconds(), help="Leave out what is before.")
@click.option("--end", type=Seconds(), help="Leave out what is after.")
@click.option("--height", type=float, help="The person's height in metres, for metres.")
@click.option(
    "--known-length",
    type=(float, float, float, float, float),
    metavar="X1 Y1 X2 Y2 METRES",
    help="A line in the image and its length, for metres.",
)
@click.option(
    "--filter",
    "filter_name",
    type=click.Choice(FILTERS),
    help=f"Smoothing: {Cleaning.filter} if not given; all but one-euro do not lag.",
)
@click.option(
    "--cutoff",
    type=Number(0, min_open=True),
    help=f"Cut-off frequency, Hz; chooses butterworth, whose default is {Cleaning.cutoff:g}.",
)
@click.option(
    "--fill",
    type=Seconds(),
    default=Cleaning.fill,
    show_default=True,
    help="Fill gaps up to so many seconds.",
)
@click.option(
    "--min-joint-score",
    type=Number(0, 1),
    default=Cleaning.min_score,
    show_default=True,
    help="Joints with a lower score are missing.",
)
@click.option(
    "--facing",
    type=click.Choice(FACINGS),
    default="auto",
    show_default=True,
    help="Which way people face in the image.",
)
@click.option("--skeleton", help="Skeleton file, if the poses have one of your own.")
@click.option("--quiet", is_flag=True, help="No summary.")
def kinematics(
    results: Path,
    out: Path | None,
    people: tuple[int, ...],
    start: float | None,
    end: float | None,
    height: float | None,
    known_length: tuple[float, float, float, float, float] | None,
    filter_name: Filter | None,
    cutoff: float | None,
    fill: float,
    min_joint_score: float,
    facing: Facing,
    skeleton: str | None,
    quiet: bool,
) -> None:
    """Joint angles, speeds and lengths of people that `rmpe track` followed.

    RESULTS is the folder that `rmpe track` wrote. The output folder gets tables (CSV and Parquet),
    TRC, MOT and C3D files, plots, and index.html, a page that shows everything.
    """
    if start is not None and end is not None and end <= start:
        raise UsageError(f"--end {end:g} must come after --start {start:g}")
    if cutoff is not None and filter_name not in (None, "butterworth"):
        raise UsageError(f"--cutoff is for --filter butterworth, not for {filter_name}")
    if height is not None and known_length is not None:
        raise UsageError("--height and --known-length both say how large a person is: give one")
    usual: Filter = Cleaning.filter if cutoff is None else "butterworth"
    options = MeasureOptions(
        cleaning=Cleaning(
            filter=filter_name or usual,
            cutoff=cutoff or Cleaning.cutoff,
            fill=fill,
            min_score=min_joint_score,
        ),
        height=height,
        known_length=None
        if known_length is None
        else KnownLength(known_length[:2], known_length[2:4], known_length[4]),
        facing=facing,
    )
    tracks = choose(read_tracks(results, load_skeleton(skeleton) if skeleton else None), people)
    cut = [part for track in tracks if len(part := track.between(start, end))]
    if not cut:
        raise DataError(f"{results}: nobody was followed in that time")
    measured = measure_all(cut, options)
    default = results if results.is_dir() else results.parent
    folder = out or default / "kinematics"
    with only_run_in(folder):
        files = write_report(measured.movements, options, folder)
    if quiet:
        return
    for words, ids in (
        ("left out, seen too briefly", measured.short),
        ("no metres, the legs are never in sight", measured.unscaled),
    ):
        if ids:
            click.echo(f"{words}: {', '.join(map(str, ids))}", err=True)
    frames = sum(len(movement.track) for movement in measured.movements)
    click.echo(f"{len(measured.movements)} people, {frames} frames of theirs, {len(files)} files")
    click.echo(f"page: {files[-1]}")
