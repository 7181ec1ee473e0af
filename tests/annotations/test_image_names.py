"""Which image a path means."""

import pytest

from rmpe.annotations.image_names import ImageFolder, NameIndex, bare


def test_no_names():
    assert NameIndex([]).find("a.jpg") is None
    assert NameIndex(["a.jpg"]).find("") is None


@pytest.mark.parametrize(
    ("names", "path", "expected"),
    [
        (["a.jpg"], "/photos/a.jpg", 0),
        (["a.jpg"], "/photos/b.jpg", None),
        (["x/a.jpg", "y/a.jpg"], "/p/y/a.jpg", 1),
        (["x/a.jpg", "y/a.jpg"], "/p/z/a.jpg", None),
        (["p/x/a.jpg", "a.jpg"], "/p/x/a.jpg", 0),
        (["q/x/a.jpg", "a.jpg"], "/p/x/a.jpg", 1),
        (["upload\\4\\a.jpg"], "photos/a.jpg", 0),
        (["upload/0a1b2c3d-a.jpg"], "photos/a.jpg", 0),
        (["a_jpg.rf.4f3e2d.jpg", "b_jpg.rf.4f3e2d.jpg"], "photos/b.jpg", 1),
        (["0a1b2c3d-a.jpg", "ffffffff-a.jpg"], "photos/a.jpg", None),
    ],
)
def test_longest_common_ending(names, path, expected):
    assert NameIndex(names).find(path) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", "a.jpg"), ("deadbeef-a.jpg", "a.jpg"), ("a_png.rf.abc123.jpg", "a.png")],
)
def test_bare_names(name, expected):
    assert bare(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("some/where/a.jpg", "a.jpg"),
        ("..\\..\\deep\\b.jpg", "deep/b.jpg"),
        ("elsewhere/b.jpg", "deep/b.jpg"),
        ("c.jpg", None),
        ("a\0.jpg", None),
        ("x" * 300 + ".jpg", None),
        ("../outside.jpg", None),
    ],
)
def test_files_of_a_folder(tmp_path, name, expected):
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    for file in ("a.jpg", "deep/b.jpg", "../outside.jpg"):
        (folder / file).write_bytes(b"")
    found = ImageFolder(folder).find(name)
    assert found == (None if expected is None else folder / expected)
