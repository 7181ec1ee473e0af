"""The journal: no lost, duplicated or mixed records."""

import errno
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmpe.errors import DataError, OutputError
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.write import FORMATS, coco
from rmpe.write.journal import Failure, Journal, JournalRecord, file_stamp, is_same_file

SKELETON = load_skeleton("coco17")
SETTINGS = {"pose": "tinypose", "nms": "parametric", "size": (256, 192), "min_score": 0.05}


def people(count, seed=0):
    rng = np.random.default_rng(seed)
    points, scores = rng.uniform(0, 100, (count, 17, 2)), rng.uniform(0, 1, (count, 17))
    points[:, 3], scores[:, 3] = np.nan, 0
    boxes = np.sort(rng.uniform(0, 100, (count, 2, 2)), axis=1).reshape(count, 4)
    return Poses(points, scores, rng.uniform(0, 1, count), boxes, SKELETON, np.arange(count) - 1)


def record(number, count=2):
    name = f"folder/ä {number}"
    return JournalRecord(
        number, f"{name}.jpg", name, f"/photos/{name}.jpg", (480, 640), people(count, number)
    )


NAMES = {number: record(number, 0).file_name for number in range(1, 9)}


def same(a, b):
    fields = ("image_id", "file_name", "name", "path", "size")
    return (
        all(getattr(a, field) == getattr(b, field) for field in fields)
        and a.poses.to_dict() == b.poses.to_dict()
        and isinstance(b.size, tuple)
    )


def test_empty_journal(tmp_path):
    with Journal(tmp_path / "new" / "journal.jsonl", SETTINGS) as journal:
        assert len(journal) == 0 and not journal.failures and list(journal.records(SKELETON)) == []
        assert journal.remaining(NAMES) == list(NAMES)
        assert journal.remaining({}) == []
        journal.append([])


def test_records_come_back_in_order_of_ids(tmp_path):
    with Journal(tmp_path / "journal.jsonl", SETTINGS) as journal:
        journal.append([record(5), record(2, 0)])
        journal.append([Failure("bad.jpg", "truncated"), record(3)])
        back = list(journal.records(SKELETON))
        assert [item.image_id for item in back] == [2, 3, 5]
        assert all(same(record(item.image_id, len(item.poses)), item) for item in back)
        assert journal.failures == {"bad.jpg": Failure("bad.jpg", "truncated")}
        assert 3 in journal and 4 not in journal and len(journal) == 3
        assert journal.remaining(NAMES) == [1, 4, 6, 7, 8]


def test_results_are_on_disk_when_append_returns(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.append([record(1)])
        assert [json.loads(line).get("image_id") for line in path.read_text().splitlines()] == [
            None,
            1,
        ]


def test_without_resume_an_old_journal_is_replaced(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.append([record(1)])
    with Journal(path, {"other": 1}) as journal:
        assert len(journal) == 0
    assert len(path.read_text().splitlines()) == 1


def test_resume_without_a_journal_starts_one(tmp_path):
    with Journal(tmp_path / "journal.jsonl", SETTINGS, resume=True) as journal:
        journal.append([record(1)])
    with Journal(tmp_path / "journal.jsonl", SETTINGS, resume=True) as journal:
        assert len(journal) == 1


def test_failed_images_are_tried_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.append([record(1), Failure(NAMES[2], "no memory")])
    with Journal(path, SETTINGS, resume=True) as journal:
        assert journal.remaining({1: NAMES[1], 2: NAMES[2]}) == [2]
        journal.append([Failure(NAMES[2], "no memory")])
        assert list(journal.failures) == [NAMES[2]]
        journal.append([record(2)])
        assert not journal.failures
        assert [item.image_id for item in journal.records(SKELETON)] == [1, 2]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10**6))
def test_a_journal_cut_anywhere_resumes_to_the_same_files(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "journal.jsonl"
    everything = [record(number, number % 3) for number in (3, 1, 4, 2)]
    with Journal(path, SETTINGS) as journal:
        journal.append(everything)
        whole = coco.write(journal.records(SKELETON), SKELETON, folder).read_bytes()
    data = path.read_bytes()
    path.write_bytes(data[: cut % (len(data) + 1)])
    complete = data[: cut % (len(data) + 1)].count(b"\n")
    with Journal(path, SETTINGS, resume=True) as journal:
        assert len(journal) == max(complete - 1, 0)
        todo = journal.remaining({item.image_id: item.file_name for item in everything})
        journal.append([item for item in everything if item.image_id in todo])
        assert coco.write(journal.records(SKELETON), SKELETON, folder).read_bytes() == whole
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"nms": "oks"},
            "cannot resume, nms was 'parametric' and is now 'oks'; use the same settings",
        ),
        ({"flip": True}, "flip was None and is now True"),
        ({"nms": "oks", "pose": "other"}, "nms was 'parametric' and is now 'oks' (1 more differ)"),
    ],
)
def test_other_settings_are_refused(tmp_path, changes, message):
    path = tmp_path / "journal.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.append([record(1)])
    before = path.read_bytes()
    with pytest.raises(DataError) as caught:
        Journal(path, SETTINGS | changes, resume=True)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            {1: "other.jpg"},
            r"image 1 was folder/ä 1\.jpg, now it is other\.jpg; resume with the same sources",
        ),
        ({2: "folder/ä 2.jpg"}, "image 1 was .*, now it is gone"),
    ],
)
def test_other_images_under_the_same_ids_are_refused(tmp_path, names, message):
    with Journal(tmp_path / "journal.jsonl", SETTINGS) as journal:
        journal.append([record(1)])
        with pytest.raises(DataError, match=message):
            journal.remaining(names)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\0\n", "line 1 is damaged"),
        (b"[1, 2]\n", "not a journal of this version"),
        (b'{"a": 1}\n', "not a journal of this version"),
        (b'{"rmpe_journal": 99, "settings": {}}\n', "not a journal of this version"),
        (b'{"rmpe_journal": 1, "settings": {}}\n{"poses"\n', "line 2 is damaged"),
        (b'{"rmpe_journal": 1, "settings": {}}\n7\n', "line 2 is damaged"),
    ],
)
def test_damaged_journals_are_refused_and_left_alone(tmp_path, data, message):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        Journal(path, {}, resume=True)
    assert path.read_bytes() == data


def test_full_disk_keeps_what_was_written(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    write = os.write
    with Journal(path, SETTINGS) as journal:
        journal.append([record(1)])
        room = [100]

        def nearly_full(descriptor, data):
            taken = min(room[0], len(data))
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            room[0] -= taken
            return write(descriptor, data[:taken])

        monkeypatch.setattr(os, "write", nearly_full)
        with pytest.raises(OutputError) as caught:
            journal.append([record(2)])
        assert str(caught.value) == (
            f"{path}: cannot write, the disk is full; free some space and run it again,"
            " with --resume where there is one"
        )
        assert [item.image_id for item in journal.records(SKELETON)] == [1]
        assert path.read_bytes().endswith(b"\n")
        room[0] = 10**9
        journal.append([record(2)])
        assert [item.image_id for item in journal.records(SKELETON)] == [1, 2]


@pytest.mark.parametrize("form", list(FORMATS))
def test_full_disk_leaves_old_final_files_and_no_rest(tmp_path, form, monkeypatch):
    FORMATS[form]([record(1)], SKELETON, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def until_full():
        yield record(1)
        full()

    records = until_full()
    if form == "openpose":  # one file an image: the error must come while one is open
        monkeypatch.setattr("rmpe.write.openpose._people", full)
        records = [record(1)]
    with pytest.raises(OutputError, match="the disk is full"):
        FORMATS[form](records, SKELETON, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_file_that_the_system_refuses_to_grow(tmp_path):
    """A file-size limit in a separate process: only part of a record is written."""
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from rmpe.errors import OutputError
        from rmpe.write.journal import Failure, Journal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with Journal(Path(sys.argv[1]), {}) as journal:
            try:
                for number in range(99):
                    journal.append([Failure(f"{number}.jpg", "x" * 150)])
            except OutputError as error:
                print(len(journal.failures), error)
        """
    )
    path = tmp_path / "journal.jsonl"
    run = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    count = int(run.stdout.split()[0])
    lines = path.read_text().splitlines()
    assert "cannot write" in run.stdout and count > 3
    assert len(lines) == count + 1 and all(json.loads(line) for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_between_batches_loses_nothing(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from rmpe.write.journal import Failure, Journal
        journal = Journal(Path(sys.argv[1]), {})
        for number in range(20):
            journal.append([Failure(f"{number}.jpg", "no")])
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    path = tmp_path / "journal.jsonl"
    run = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert run.returncode == -9
    assert len(path.read_text().splitlines()) == 21


def test_cannot_write_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        Journal(tmp_path / "out" / "journal.jsonl", {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        Journal(tmp_path / "folder", {})


def test_a_photo_is_known_by_its_contents_and_a_pipe_is_never_read(tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one")
    stamp = file_stamp(photo.read_bytes(), photo.stat())
    assert is_same_file(photo, stamp)
    os.utime(photo, (1, 1))
    assert is_same_file(photo, stamp)  # another time, the same contents
    photo.write_bytes(b"two")
    assert not is_same_file(photo, stamp)
    photo.unlink()
    assert is_same_file(photo, stamp)  # gone is not changed
    if hasattr(os, "mkfifo"):
        os.mkfifo(photo)
        assert not is_same_file(photo, stamp)
