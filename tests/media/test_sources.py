"""Finding images, naming their results, numbering them."""

import json
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rmpe.errors import DataError, RmpeError
from rmpe.media.remote import fetch, is_remote
from rmpe.media.sources import find_images, find_media, image_ids


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A working folder with files of the given names."""

    def plant(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path

    monkeypatch.chdir(tmp_path)
    return plant


@pytest.mark.parametrize(
    ("files", "sources", "expected"),
    [
        (["a.jpg"], ["a.jpg"], ["a.jpg"]),
        (["p/b.jpg", "p/a.PNG", "p/c.txt"], ["p"], ["a.PNG", "b.jpg"]),
        (["p/x/1.jpg", "p/y/1.jpg", "p/1.jpg"], ["p"], ["1.jpg", "x/1.jpg", "y/1.jpg"]),
        (["p/.hidden.jpg", "p/.git/a.jpg", "p/a.jpg"], ["p"], ["a.jpg"]),
        (["p/data"], ["p/data"], ["data"]),
        (["p/a.jpg", "p/b.jpg", "p/c.txt"], ["p/*"], ["a.jpg", "b.jpg"]),
        (["p/x/a.jpg", "p/y/z/b.jpg"], ["p/*"], ["a.jpg", "z/b.jpg"]),
        (["p/x/a.jpg", "p/y/z/b.jpg"], ["p/**/*.jpg"], ["a.jpg", "b.jpg"]),
        (["p/[1].jpg", "p/1.jpg"], ["p/[1].jpg"], ["[1].jpg"]),
        (["p/a b ä.jpg"], ["p/a b ä.jpg"], ["a b ä.jpg"]),
        # The same file twice is one image; different files of one name get longer names.
        (["p/a.jpg"], ["p", "p/a.jpg", "./p/../p/a.jpg"], ["a.jpg"]),
        (["p/a.jpg", "q/a.jpg"], ["p", "q"], ["p/a.jpg", "q/a.jpg"]),
        (
            ["p/x/a.jpg", "q/x/a.jpg", "q/b.jpg"],
            ["p/x", "q/x", "q/b.jpg"],
            ["p/x/a.jpg", "b.jpg", "q/x/a.jpg"],
        ),
        (["p/a.jpg", "q/A.JPG"], ["p", "q"], ["p/a.jpg", "q/A.JPG"]),
    ],
)
def test_finds(tree, files, sources, expected):
    tree(*files)
    items = find_images(sources)
    assert [item.file_name for item in items] == expected
    assert [item.path for item in items] == sorted(item.path for item in items)
    assert all(item.path.is_file() for item in items)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a.jpg", "b.png"], ["a", "b"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a.png", "b"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg", "a.jpg.png", "a.png"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a", "y/a"]),
        (["a.b.jpg"], ["a.b"]),
    ],
)
def test_output_names_differ(tree, files, expected):
    items = find_images([str(tree(*files))])
    assert [item.name for item in items] == expected


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["p/A.jpg", "p/a.jpg"], ["A.jpg", "a.jpg~2"]),
        (["p/A.jpg", "p/a.jpg", "p/a.jpg~2.jpg"], ["A.jpg", "a.jpg~3", "a.jpg~2"]),
        (["p/A.png", "p/a.jpg"], ["A.png", "a.jpg"]),
        (["p/x/A.jpg", "p/x/a.jpg", "p/y/a.jpg"], ["x/A.jpg", "x/a.jpg~2", "y/a"]),
    ],
)
def test_names_that_differ_by_case_only_get_numbers(tree, files, names):
    tree(*files)
    found = find_images(files)
    assert [item.name for item in found] == names
    assert len({item.file_name for item in found}) == len(files)


# What earlier runs left in and around the photos; what is named itself is meant.
@pytest.mark.parametrize(
    ("sources", "out", "expected"),
    [
        (["p"], None, ["a.jpg", "day/b.jpg"]),
        (["p"], "p", ["a.jpg", "day/b.jpg"]),
        (["."], ".", ["p/a.jpg", "p/day/b.jpg"]),
        (["p"], "p/results", ["a.jpg", "day/b.jpg"]),
        (["p/day"], "p", ["b.jpg"]),
        (["p/results"], None, []),
        (["**/*.jpg"], None, ["a.jpg", "b.jpg"]),
        (["p/drawn"], None, ["a.jpg"]),
        (["p/drawn/*.jpg"], None, ["a.jpg"]),
    ],
)
def test_what_earlier_runs_drew_is_no_photo(tree, sources, out, expected):
    tree(
        *("p/a.jpg", "p/day/b.jpg", "p/journal.jsonl", "p/drawn/a.jpg", "p/drawn.mp4"),
        *("p/results/drawn/a.jpg", "p/results/drawn/day/b.jpg", "p/results/journal.jsonl"),
        *("rmpe-out/p/drawn/a.jpg", "rmpe-out/p/journal.jsonl"),
    )
    if not expected:
        with pytest.raises(DataError, match="no images found"):
            find_images(sources, without=None)
        return
    found, videos = find_media(sources, without=Path(out) if out else None)
    assert [item.file_name for item in found] == expected
    assert not videos


def test_a_folder_called_drawn_without_a_journal_is_one_of_photos(tree):
    tree("p/drawn/a.jpg", "p/b.jpg")
    assert [item.file_name for item in find_images(["p"])] == ["b.jpg", "drawn/a.jpg"]


def test_videos_are_found_wherever_they_are(tree):
    tree("p/a.jpg", "p/day/c.mp4", "p/B.MOV")
    images, videos = find_media(["p"])
    assert [item.file_name for item in images] == ["a.jpg"]
    assert videos == [Path("p/B.MOV"), Path("p/day/c.mp4")]
    with pytest.raises(DataError, match="no image in p/day, q but 3 videos: rmpe track p/day q"):
        tree("q/d.mp4", "q/e.mp4")
        find_media(["p/day", "q"])


@pytest.mark.parametrize("source", ["", " "])
def test_an_empty_source_is_not_the_working_folder(tree, source):
    tree("a.jpg")
    with pytest.raises(DataError, match="empty text"):
        find_images([source])


def test_names_never_leave_the_output_folder(tree):
    root = tree("p/a.jpg", "q/a.jpg")
    for item in find_images([f"{root}/p/../q/a.jpg", f"{root}/p/a.jpg"]):
        assert ".." not in Path(item.name).parts and not Path(item.name).is_absolute()


def test_list_on_standard_input(tree, monkeypatch):
    tree("p/a.jpg", "p/b c.jpg", "q/d.jpg", "e.jpg")
    lines = ["p/a.jpg\n", "p/b c.jpg\r\n", "\n", "q\n"]
    assert [item.file_name for item in find_images(["-", "e.jpg"], lines)] == [
        "e.jpg",
        "a.jpg",
        "b c.jpg",
        "d.jpg",
    ]
    monkeypatch.setattr("sys.stdin", iter(lines))
    assert len(find_images(["-"])) == 3


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "no images found in nothing"),
        (["empty"], "no images found in empty"),
        (["-"], "no images found in -"),
        (["gone.jpg"], "gone.jpg: no such file or folder"),
        (["gone/*.jpg"], "gone/*.jpg: no such file or folder, and no pattern that matches one"),
        (["text/*"], "no images found in text/*"),
    ],
)
def test_nothing_found(tree, sources, message):
    root = tree("text/a.txt")
    (root / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        find_images(sources, [])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable_folder(tree, monkeypatch):
    tree("p/a.jpg", "p/secret/b.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(
        os, "scandir", scandir
    )  # the superuser, whom containers run as, is never denied
    with pytest.raises(DataError, match=r"secret: cannot read the folder: Permission denied"):
        find_images(["p"])


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser is never denied"
)
@pytest.mark.parametrize("source", ["p", "p/secret", "p/secret/b.jpg"])
def test_really_unreadable_folder(tree, source):
    root = tree("p/a.jpg", "p/secret/b.jpg")
    (root / "p/secret").chmod(0)
    try:
        with pytest.raises(DataError, match="secret"):
            find_images([source])
    finally:
        (root / "p/secret").chmod(0o700)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["000000000139.jpg", "000000000285.jpg"], [139, 285]),
        (["7.jpg", "0.jpg"], [0, 7]),
        (["x/3.jpg", "y/4.png"], [3, 4]),
        (["b.jpg", "a.jpg"], [1, 2]),
        (["1.jpg", "b.jpg"], [1, 2]),
        (["x/3.jpg", "y/3.jpg"], [1, 2]),
        (["3.jpg", "003.jpg"], [1, 2]),
        (["²0.jpg", "4.jpg"], [1, 2]),
        (["-4.jpg", "5.jpg"], [1, 2]),
    ],
)
def test_ids_without_annotations(tree, files, expected):
    items = find_images([str(tree(*files))])
    ids = image_ids(items)
    assert list(ids) == items and list(ids.values()) == expected


def coco(path, **ids):
    path.write_text(
        json.dumps({"images": [{"id": number, "file_name": name} for name, number in ids.items()]})
    )
    return path


@pytest.mark.parametrize(
    ("files", "known", "expected"),
    [
        (["a.jpg", "b.jpg"], {"a.jpg": 12, "b.jpg": 5, "c.jpg": 1}, {"a.jpg": 12, "b.jpg": 5}),
        (["7.jpg"], {"7.jpg": 70}, {"7.jpg": 70}),
        (["a.jpg", "b.jpg"], {"b.jpg": 5}, {"b.jpg": 5}),
        (["x/a.jpg", "y/a.jpg"], {"x/a.jpg": 1, "y/a.jpg": 2}, {"x/a.jpg": 1, "y/a.jpg": 2}),
        (
            ["x/a.jpg"],
            {"p/x/a.jpg": 1, "a.jpg": 2},
            {"x/a.jpg": 1},
        ),  # the longest end wins; the root is p
        (["a.jpg", "b.jpg"], {"upload/4/a.jpg": 1, "up\\5\\b.jpg": 2}, {"a.jpg": 1, "b.jpg": 2}),
        (["a.jpg", "b.jpg"], {"u/1/a.jpg": 1, "u/2/a.jpg": 2, "b.jpg": 3}, {"b.jpg": 3}),
        (["a.jpg"], {"upload/0a1b2c3d-a.jpg": 4}, {"a.jpg": 4}),
        (["a.jpg"], {"a_jpg.rf.0123abc.jpg": 4}, {"a.jpg": 4}),
        (["x/a.jpg", "y/a.jpg"], {"x/a.jpg": 1}, {"x/a.jpg": 1}),
    ],
)
def test_ids_from_annotations(tree, files, known, expected):
    root = tree(*(f"p/{name}" for name in files))
    ids = image_ids(find_images(["p"]), coco(root / "known.json", **known))
    assert {item.file_name: number for item, number in ids.items()} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "names none of the images"),
        ("{}", "not COCO annotations"),
        ('{"images": [{"id": 1}]}', "image 1 has no 'file_name'"),
        ('{"images": [{"id": "x", "file_name": "a.jpg"}]}', "'x' is not a whole number"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]}',
            r"a\.jpg is there more than once",
        ),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}]}', "are both image 1 there"),
    ],
)
def test_bad_annotations(tree, text, message):
    root = tree("p/x/a.jpg", "p/y/a.jpg")
    (root / "known.json").write_text(text)
    with pytest.raises(DataError, match=message):
        image_ids(find_images(["p"]), root / "known.json")
    with pytest.raises(DataError, match=r"gone\.json: cannot be read"):
        image_ids(find_images(["p"]), root / "gone.json")


@pytest.fixture
def server(tmp_path):
    """A web server on loopback that serves ``tmp_path / "www"``."""
    (tmp_path / "www").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_remote_files_are_fetched(tmp_path, server):
    pytest.importorskip("aiohttp")
    (tmp_path / "www" / "a b.jpg").write_bytes(b"picture")
    (tmp_path / "www" / "deep").mkdir()
    (tmp_path / "www" / "deep" / "c.png").write_bytes(b"other")
    here = f"file://{tmp_path}/www"
    found = fetch([f"{server}/a%20b.jpg?size=1", here, f"{here}/*.jpg"], tmp_path / "scratch")
    assert [path.read_bytes() for path in found] == [b"picture", b"picture", b"other", b"picture"]
    assert [path.name for path in found][1:] == ["a b.jpg", "c.png", "a b.jpg"]


@pytest.mark.parametrize("address", ["/gone.jpg", None, "nosuchscheme://x/y.jpg"])
def test_remote_faults_are_one_line(tmp_path, server, address):
    pytest.importorskip("aiohttp")
    source = f"file://{tmp_path}/nothing/*.jpg" if address is None else address
    source = server + source if source.startswith("/") else source
    with pytest.raises(RmpeError) as caught:
        fetch([source], tmp_path / "scratch")
    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "remote"), [("a.jpg", False), ("C:\\a.jpg", False), ("s3://bucket/a", True)]
)
def test_is_remote(source, remote):
    assert is_remote(source) == remote
