"""The files of `rmpe kinematics` in the programs that they are for."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")
pytest.importorskip("ezc3d")

from rmpe.cli import rmpe as command
from rmpe.errors import DataError, RmpeError, UsageError
from rmpe.kinematics.cleaning import Cleaning
from rmpe.kinematics.measure import MeasureOptions, measure
from rmpe.kinematics.motion_files import COORDINATES, write_motion_files
from rmpe.kinematics.tracks import choose, read_tracks
from rmpe.kinematics.walker import Walker
from rmpe.poses import Poses
from rmpe.write.journal import Journal, JournalRecord

WALKER = Walker(height=300, seconds=1.5)
AS_IT_IS = Cleaning(filter="none", fill=0, outliers=0)


def movement(*, height=1.75, missing=()):
    track = WALKER.track()
    points = track.points.copy()
    for joint, frame in missing:
        points[frame, track.skeleton.joints.index(joint)] = np.nan
    return measure(replace(track, points=points), MeasureOptions(cleaning=AS_IT_IS, height=height))


def write_results(folder, tracks, gaps=()):
    """What `rmpe track` writes, of made tracks."""
    skeleton = tracks[0].skeleton if tracks else WALKER.track().skeleton
    frames = sorted({int(frame) for track in tracks for frame in track.frames})
    with Journal(folder / "tracks.jsonl", {"skeleton": skeleton.name}) as journal:
        for frame in frames:
            if frame in gaps:
                continue
            people = [Poses.empty(skeleton)]
            for track in tracks:
                for at in np.flatnonzero(track.frames == frame):
                    box = (
                        np.nanmin(track.points[at], 0).tolist()
                        + np.nanmax(track.points[at], 0).tolist()
                    )
                    people.append(
                        Poses(
                            track.points[at][None],
                            track.scores[at][None],
                            [0.9],
                            [box],
                            skeleton,
                            [track.person],
                        )
                    )
            name = f"clip_{frame:06d}"
            where = (f"{name}.jpg", name, "clip.mp4", (600, 900))
            journal.append(
                [JournalRecord(frame, *where, Poses.merge(people), frame / 30, fps=30.0)]
            )
    return folder


def run(*arguments):
    return CliRunner().invoke(command, ["kinematics", *map(str, arguments)])


MISSING = {
    "whole": (),
    "first joint": (("nose", 3),),
    "last joint": (("right_heel", 3), ("right_heel", 44)),
    "a whole frame": tuple((joint, 7) for joint in WALKER.track().skeleton.joints),
}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("height", [1.75, None])
def test_opensim_reads_trc_and_mot(tmp_path, missing, height):
    opensim = pytest.importorskip("opensim")
    made = movement(height=height, missing=MISSING[missing])
    write_motion_files(made, tmp_path)
    rows = opensim.TimeSeriesTableVec3(str(tmp_path / "person_0001.trc"))
    assert list(rows.getColumnLabels()) == list(made.track.skeleton.joints)
    assert np.allclose(rows.getIndependentColumn(), made.track.seconds, atol=1e-5)
    factor = 1000 if height else 1
    found = rows.getDependentColumn("left_knee").getElt(0, 0)
    knee = made.places[0, made.track.skeleton.joints.index("left_knee")] * factor
    assert np.allclose([found[0], found[1], found[2]], [*knee, 0], atol=1e-3)
    storage = opensim.TimeSeriesTable(str(tmp_path / "person_0001.mot"))
    assert list(storage.getColumnLabels()) == [COORDINATES[name] for name in made.angles]
    assert storage.getTableMetaDataString("inDegrees") == "yes"
    knee = storage.getDependentColumn("knee_angle_l").to_numpy()
    assert np.allclose(knee, made.angles["left_knee"], atol=1e-3, equal_nan=True)
    assert opensim.Storage(str(tmp_path / "person_0001.mot")).isInDegrees()


@pytest.mark.parametrize("missing", MISSING)
def test_ezc3d_reads_c3d(tmp_path, missing):
    ezc3d = pytest.importorskip("ezc3d")
    made = movement(missing=MISSING[missing])
    write_motion_files(made, tmp_path)
    file = ezc3d.c3d(str(tmp_path / "person_0001.c3d"))
    points = file["parameters"]["POINT"]
    assert points["LABELS"]["value"] == list(made.track.skeleton.joints)
    assert points["UNITS"]["value"] == ["mm"]
    assert points["RATE"]["value"][0] == pytest.approx(30)
    found = file["data"]["points"][:2].T.swapaxes(0, 0)
    assert np.allclose(found, 1000 * made.places, atol=1e-2, equal_nan=True)


@pytest.mark.parametrize("missing", MISSING)
def test_another_reader_reads_c3d(tmp_path, missing):
    c3d = pytest.importorskip("c3d")
    made = movement(missing=MISSING[missing])
    write_motion_files(made, tmp_path)
    with (tmp_path / "person_0001.c3d").open("rb") as file:
        frames = [points for _, points, _ in c3d.Reader(file).read_frames()]
    assert len(frames) == len(made.track)
    seen = np.isfinite(made.places).all(axis=2)
    for points, places, known in zip(frames, made.places, seen, strict=True):
        assert np.allclose(points[known, :2], 1000 * places[known], atol=1e-2)
        assert (points[~known, 3] == -1).all()


def test_the_command_writes_everything(tmp_path):
    pandas = pytest.importorskip("pandas")
    other = replace(WALKER.track(noise=1), person=7)
    results = write_results(tmp_path, [WALKER.track(), other], gaps=(20, 21))
    done = run(results, "--height", "1.75")
    assert done.exit_code == 0, done.output
    out = tmp_path / "kinematics"
    assert done.output.splitlines()[-1] == f"page: {out / 'index.html'}"
    assert not list(out.glob(".*"))
    for name in ("angles", "joints", "segments"):
        rows = pandas.read_csv(out / f"{name}.csv")
        same = pandas.read_parquet(out / f"{name}.parquet")
        assert list(rows) == list(same) and len(rows) == len(same) and set(rows["person"]) == {1, 7}
        for column in rows.select_dtypes("number"):
            assert np.allclose(rows[column], same[column], atol=6e-4, equal_nan=True), column
    joints = pandas.read_csv(out / "joints.csv")
    assert set(joints[(joints.frame == 20) & (joints.person == 1)]["state"]) == {"filled"}
    assert joints[joints.frame == 20]["raw_x_px"].isna().all()
    angles = pandas.read_csv(out / "angles.csv")
    knee = angles[(angles.person == 1) & (angles.angle == "left_knee")]
    assert np.abs(knee["degrees"] - WALKER.angles()["left_knee"]).max() < 5
    page = (out / "index.html").read_text("utf-8")
    assert page.count("<h2>") == 2 and page.count("data:image/png;base64,") == 5
    assert not re.search(r"(src|href)='(?!data:)", page)
    for person in (1, 7):
        for ending in (".trc", ".mot", ".c3d", "_angles.png", "_strip.png"):
            assert (out / f"person_{person:04d}{ending}").stat().st_size > 500


def test_one_person_and_a_part_of_the_time(tmp_path):
    pandas = pytest.importorskip("pandas")
    results = write_results(tmp_path, [WALKER.track(), replace(WALKER.track(), person=7)])
    out = tmp_path / "part"
    done = run(
        results / "tracks.jsonl", "--out", out, "--person", 7, "--start", "0.5", "--end", "1s"
    )
    assert done.exit_code == 0, done.output
    rows = pandas.read_parquet(out / "joints.parquet")
    assert set(rows["person"]) == {7}
    assert (rows["seconds"].min(), rows["seconds"].max()) == (0.5, 1.0)
    assert rows["x_m"].isna().all()


def test_a_second_report_leaves_nobody_of_the_first(tmp_path):
    results = write_results(tmp_path, [WALKER.track(), replace(WALKER.track(), person=7)])
    out = tmp_path / "out"
    run(results, "--out", out)
    (out / "person_0001_notes.txt").touch()  # not ours
    run(results, "--out", out, "--person", 7)
    left = {file.name for file in out.glob("person_0001*")}
    assert left == {"person_0001_notes.txt"} and (out / "person_0007.trc").is_file()


def test_someone_seen_too_briefly_is_named(tmp_path):
    short = replace(WALKER.track().between(0, 0.05), person=3)
    done = run(write_results(tmp_path, [WALKER.track(), short]))
    assert done.exit_code == 0 and "left out, seen too briefly: 3" in done.output


def test_one_without_legs_does_not_stop_the_others(tmp_path):
    track = WALKER.track()
    points = track.points.copy()
    points[:, [i for i, name in enumerate(track.skeleton.joints) if "ankle" in name]] = np.nan
    legless = replace(
        track, person=4, points=points, scores=np.where(np.isnan(points[..., 0]), 0, 0.9)
    )
    done = run(write_results(tmp_path, [track, legless]), "--height", 1.75)
    assert done.exit_code == 0 and "never in sight: 4" in done.output
    done = run(tmp_path, "--height", 1.75, "--person", 4)
    assert isinstance(done.exception, DataError)


def damaged(folder):
    (folder / "tracks.jsonl").write_text(
        '{"settings": {"skeleton": "coco17"}}\n{"image_id": 0, "po'
    )
    return folder


def other_file(folder):
    (folder / "tracks.jsonl").write_text("[1, 2]\n")
    return folder


def no_settings(folder):
    (folder / "tracks.jsonl").write_text(json.dumps({"image_id": 0}) + "\n")
    return folder


@pytest.mark.parametrize(
    ("make", "arguments", "error", "said"),
    [
        (lambda folder: folder, (), DataError, "no such file; name the folder"),
        (damaged, (), DataError, "line 2 is damaged"),
        (other_file, (), DataError, "line 1 is not a JSON object"),
        (no_settings, (), DataError, "does not begin with settings"),
        (lambda folder: write_results(folder, []), (), DataError, "nobody was followed"),
        (lambda f: write_results(f, [WALKER.track()]), ("--person", 9), UsageError, "there: 1"),
        (lambda f: write_results(f, [WALKER.track()]), ("--start", 90), DataError, "nobody"),
        (
            lambda f: write_results(f, [WALKER.track()]),
            ("--start", 2, "--end", 1),
            UsageError,
            "after",
        ),
        (lambda f: write_results(f, [WALKER.track()]), ("--height", 175), UsageError, "in metres"),
        (lambda f: write_results(f, [WALKER.track()]), ("--cutoff", 15), UsageError, "below 15 Hz"),
        (
            lambda f: write_results(f, [WALKER.track()]),
            ("--cutoff", 5, "--filter", "median"),
            UsageError,
            "not for median",
        ),
        (lambda f: write_results(f, [WALKER.track().between(0, 0.1)]), (), DataError, "5 frames"),
    ],
)
def test_user_errors_are_one_line(tmp_path, make, arguments, error, said):
    done = run(make(tmp_path), *arguments)
    assert isinstance(done.exception, error), done.output
    assert isinstance(done.exception, RmpeError)
    assert said in str(done.exception) and "\n" not in str(done.exception)


def changed(folder, place, value, line=3):
    """The results of a walker with one value changed: keys from a line of the file inwards."""
    path = write_results(folder, [WALKER.track()]) / "tracks.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    inner = lines[line - 1]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("image_id",), 10**30, "line 3: image_id"),
        (("image_id",), 1.5, "line 3: image_id"),
        (("image_id",), "5", "line 3: image_id"),
        (("image_id",), 0, "frame 0 is there twice"),
        (("seconds",), float("nan"), "line 3: seconds"),
        (("seconds",), "1", "line 3: seconds"),
        (("seconds",), 0.0, "is not later than frame 0"),
        (("seconds",), 1e9, "is not later than frame 1"),
        (("size",), [], "size must be"),
        (("size",), ["a", 3], "line 3: size"),
        (("fps",), "30", "line 3: fps"),
        (("poses",), [], "frame 1: poses is a list"),
        (("poses", "track_ids"), ["a"], "frame 1: not the people"),
        (("poses", "track_ids"), [10**30], "frame 1: not the people"),
        (("poses", "keypoints", 0, 0), [1e30, 0], "lies beyond"),
        (("poses", "keypoints", 0, 0), [1e300, 0], "frame 1: not the people"),
        (("poses", "keypoints", 0), [], "frame 1: not the people"),
        (("poses", "scores"), {}, "frame 1: not the people"),
        (("poses", "skeleton"), 3, "frame 1: not the people"),
    ],
)
def test_damaged_tracks_are_one_line(tmp_path, place, value, said):
    with pytest.raises(DataError, match=said) as caught:
        read_tracks(changed(tmp_path, place, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("settings",), [], "settings is a list"),
        (("settings", "skeleton"), 5, "skeleton is 5, not text"),
        (("settings", "skeleton"), "nobody", "unknown skeleton"),
    ],
)
def test_damaged_settings_are_one_line(tmp_path, place, value, said):
    with pytest.raises(DataError, match=said):
        read_tracks(changed(tmp_path, place, value, line=1))


def test_frames_too_far_apart_are_not_held(tmp_path):
    last = len(WALKER.track()) + 1
    with pytest.raises(DataError, match="person 1 is seen in frames 0 and 1000000000000, more"):
        read_tracks(changed(tmp_path, ("image_id",), 10**12, line=last))


@pytest.mark.parametrize("fps", [-1, 1e9])
def test_rates_of_no_video_are_refused(tmp_path, fps):
    with pytest.raises(DataError, match="not a rate of a video"):
        read_tracks(changed(tmp_path, ("fps",), fps, line=2))


@pytest.mark.parametrize("point", [float("nan"), float("inf"), 1e9])
def test_a_known_length_needs_real_points(tmp_path, point):
    done = run(write_results(tmp_path, [WALKER.track()]), "--known-length", point, 0, 9, 9, 1)
    assert isinstance(done.exception, UsageError)


def test_tracks_are_read_whatever_is_in_between(tmp_path):
    tracks = read_tracks(write_results(tmp_path, [WALKER.track()], gaps=(5, 6, 30)))
    (found,) = tracks
    assert len(found) == len(WALKER.track())
    assert np.flatnonzero(np.isnan(found.confidence)).tolist() == [5, 6, 30]
    assert np.allclose(found.seconds, WALKER.times())
    assert choose(tracks, ()) == tracks == choose(tracks, (1,))
    assert read_tracks(write_results(tmp_path, [])) == []
