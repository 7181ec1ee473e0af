"""The code in README and docs runs, links lead somewhere, and the paper map points at things that
exist."""

import json
import re
import shlex
import tomllib
import zipfile
from importlib import import_module
from itertools import islice

import pytest
from click.testing import CliRunner
from conftest import ROOT, TORCH_ROOMS
from small_set import write_set

from rmpe.cards import ModelCard
from rmpe.cli import rmpe as command
from rmpe.media.video import Video
from rmpe.media.video_writer import VideoWriter
from rmpe.skeletons import Skeleton

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(language):
    for document in DOCUMENTS:
        for number, (name, flags, code) in enumerate(BLOCK.findall(document.read_text("utf-8"))):
            if name == language:
                yield pytest.param(code, flags.strip(), id=f"{document.name}:{number}")


@pytest.mark.parametrize(("code", "flags"), list(blocks("python")))
def test_python_blocks_run(code, flags, data_root, tmp_path, monkeypatch):
    compile(code, "block", "exec")
    if "no-run" in flags:
        return
    monkeypatch.chdir(tmp_path)
    for name in ("yolox_nano.onnx", "tinypose_256x192.onnx"):
        (tmp_path / name).symlink_to(data_root / "models" / name)
    (tmp_path / "photo.jpg").symlink_to(
        next(iter(sorted((data_root / "data/coco-val/images").iterdir())))
    )
    exec(compile(code, "block", "exec"), {})


def walk(data_root, folder):
    """``walk.mp4``: the beginning of the pedestrians."""
    with (
        Video(data_root / "data/pedestrians.mp4") as video,
        VideoWriter(folder / "walk.mp4", fps=30) as writer,
    ):
        for frame in islice(video, 15):
            writer.write(frame.image, frame.index / 30)


def photos(data_root, folder):
    """Some photos with people."""
    (folder / "photos").mkdir()
    for photo in sorted((data_root / "data/coco-val/images").iterdir())[:6]:
        (folder / "photos" / photo.name).symlink_to(photo)


def labelled(_data_root, folder):
    """Photos with made players, and two exports of CVAT."""
    pytest.importorskip("torch")
    text = (ROOT / "docs" / "own_skeleton.md").read_text("utf-8")
    skeleton = next(code for _, name, code in BLOCK.findall(text) if name.strip() == "racket.toml")
    annotations, made = write_set(
        folder, Skeleton.from_dict(tomllib.loads(skeleton), "racket"), images=4
    )
    made.rename(folder / "photos")
    (folder / "racket.toml").write_text(skeleton)
    arguments = ["dataset", str(annotations), "--skeleton", "racket.toml", "--to", "cvat"]
    assert CliRunner().invoke(command, [*arguments, "--out", "export"]).exit_code == 0
    for name in ("task.zip", "held_out.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.write(folder / "export" / "annotations.xml", "annotations.xml")


# Their blocks are run one after the other, on what is prepared; training is cut to two steps.
TUTORIALS = {"knee_angle.md": walk, "photo_table.md": photos, "own_skeleton.md": labelled}
SHORT = {"train": ["--set", "steps=2", "--set", "batch=2", "--set", "device='cpu'"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorials_run(name, data_root, tmp_path, monkeypatch):
    for package in ("scipy", "matplotlib", "pyarrow", "ezc3d", "pandas"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    TUTORIALS[name](data_root, tmp_path)
    scope = {}
    for language, flags, code in BLOCK.findall((ROOT / "docs" / name).read_text("utf-8")):
        if language == "python":
            exec(compile(code, name, "exec"), scope)
        if language == "toml":
            (tmp_path / flags.strip()).write_text(code)
        for line in code.splitlines() if language == "sh" else ():
            program, *arguments = shlex.split(line)
            assert program == "rmpe"
            done = CliRunner().invoke(command, [*arguments, *SHORT.get(arguments[0], [])])
            assert done.exit_code == 0, (line, done.output, done.exception)


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, data_root, tmp_path, monkeypatch):
    for package in ("pandas", "hotcoco", "matplotlib"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    write_photos(data_root / "data" / "coco-val", tmp_path)
    scope = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), path.name, "exec"), scope)


def write_photos(source, folder, count=3):
    """The first photos of a data set and their labels: ``images`` and ``annotations.json``."""
    data = json.loads((source / "annotations.json").read_text("utf-8"))
    data["images"] = data["images"][:count]
    ids = {image["id"] for image in data["images"]}
    data["annotations"] = [one for one in data["annotations"] if one["image_id"] in ids]
    (folder / "annotations.json").write_text(json.dumps(data), "utf-8")
    (folder / "images").mkdir()
    for image in data["images"]:
        (folder / "images" / image["file_name"]).symlink_to(source / "images" / image["file_name"])


@pytest.mark.parametrize(("code", "flags"), list(blocks("toml")))
def test_toml_blocks_are_what_they_seem(code, flags):
    data = tomllib.loads(code)
    if "decoder" in data:
        ModelCard.from_toml(code, "document")
    elif "joints" in data:
        Skeleton.from_dict(data, "document")


def anchors(markdown):
    """What a link may end with: the headings, as GitHub writes them."""
    for heading in re.findall(r"^#+ (.+)$", markdown, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


# Made while the site is built, which checks these links itself.
MADE = {"demo/index.html", "model_gallery.md", "compared.md"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in link or link in MADE:
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


REPORTS = ("results.md", "robustness.md")  # pages that nobody follows step by step


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if document.name not in REPORTS],
    ids=lambda document: document.name,
)
def test_a_page_begins_with_what_to_do(document):
    """A command or code stands in the first lines, before any table."""
    lines = document.read_text("utf-8").splitlines()
    code = next(i for i, line in enumerate(lines) if line.startswith(("    ", "```")))
    table = next((i for i, line in enumerate(lines) if line.startswith("|")), len(lines))
    assert code < min(table, 30), document.name


PAPER_MAP = (ROOT / "docs" / "paper_map.md").read_text("utf-8")


def test_the_paper_map_follows_the_paper():
    headings = re.findall(r"^## (\S+)", PAPER_MAP, re.MULTILINE)
    assert headings == ["The", "3.1", "3.2", "3.3", "4", "Not", "What"]


def rows():
    table = PAPER_MAP
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) >= 4 and "`" in cells[-2]:
            yield pytest.param(cells, id=cells[0])


@pytest.mark.parametrize("cells", list(rows()))
def test_paper_map_points_at_things_that_exist(cells):
    targets = re.findall(r"`([\w.]+):([\w.]+)`", cells[-2])
    assert targets, cells
    for module, name in targets:
        if module.split(".")[1] in TORCH_ROOMS:
            pytest.importorskip("torch")
        thing = import_module(module if module.startswith("rmpe") else f"rmpe.{module}")
        for part in name.split("."):
            thing = getattr(thing, part)
    for test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", cells[-1]):
        file = ROOT / test[0]
        assert file.is_file(), test
        assert not test[1] or f"def {test[1]}" in file.read_text("utf-8"), test
