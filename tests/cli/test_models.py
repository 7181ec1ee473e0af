"""Installed models: adding, choosing, removing; errors are one line and leave nothing behind."""

import json
import threading
import zipfile
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest
from click.testing import CliRunner
from tiny_models import spot_pose_model, spots, yolox_model

from rmpe.cli import rmpe as command
from rmpe.errors import ModelError
from rmpe.install.add import add_model
from rmpe.install.place import remove_model
from rmpe.media.images import save_image
from rmpe.models import (
    default_model,
    installed_models,
    resolve_model,
    shipped_models,
    use_model,
)
from rmpe.runtime import sha256_of

PEOPLE = [(30, 36, 24, 48, 0.9, 0.9)]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def pose(tmp_path):
    return spot_pose_model(tmp_path)


@pytest.fixture
def address(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_nothing_is_added_at_first():
    assert installed_models() == shipped_models()


def test_add_use_remove(pose):
    before = default_model("pose")
    card = add_model("spots", str(pose))
    assert (card.kind, card.decoder) == ("pose", "dark")
    assert resolve_model("spots", "pose").read_bytes() == pose.read_bytes()
    assert default_model("pose") == before
    use_model("spots")
    assert resolve_model(None, "pose") == installed_models()["spots"]
    remove_model("spots")
    assert default_model("pose") == before
    assert installed_models() == shipped_models()


def test_a_model_by_its_name_runs_without_its_first_folder(tmp_path, pose):
    yolox = yolox_model(tmp_path, PEOPLE)
    add_model("spots", str(pose))
    add_model("boxes", str(yolox))
    for file in (pose, yolox):
        file.unlink()
    for name in ("spots", "boxes"):
        use_model(name)
    photo = tmp_path / "photo.png"
    save_image(photo, spots((64, 64), [(30.0, 22.0), (34.0, 40.0), (26.0, 50.0)], 3))
    result = CliRunner().invoke(
        command, ["predict", str(photo), "--out", str(tmp_path / "out"), "--no-draw"]
    )
    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())) == 1


def test_download(tmp_path, pose, address):
    card = pose.with_suffix(".toml")
    add_model("spots", f"{address}/{pose.name}", sha256_of(pose).upper(), card)
    assert installed_models()["spots"].read_bytes() == pose.read_bytes()


def test_zip(tmp_path, pose):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(pose, "20230831/end2end.onnx")
        archive.writestr("20230831/readme.txt", "x")
    add_model("spots", str(packed), card=pose.with_suffix(".toml"))
    assert installed_models()["spots"].read_bytes() == pose.read_bytes()


@pytest.mark.parametrize(
    ("name", "make", "digest", "words"),
    [
        ("../x", lambda folder, pose: str(pose), None, "cannot name a model"),
        ("", lambda folder, pose: str(pose), None, "cannot name a model"),
        ("none", lambda folder, pose: str(pose), None, "cannot name a model"),
        ("whole-image", lambda folder, pose: str(pose), None, "cannot name a model"),
        ("x", lambda folder, pose: str(folder / "none.onnx"), None, "none.onnx: cannot read"),
        ("x", lambda folder, pose: str(pose), "0" * 64, "SHA-256"),
        ("x", lambda folder, pose: str(pose), "é", "64 hexadecimal digits"),
        ("x", lambda folder, pose: "http://127.0.0.1:1/x.onnx", "0" * 64, "cannot download"),
        (
            "x",
            lambda folder, pose: text(folder / "text.onnx"),
            None,
            "not a model that ONNX Runtime can load",
        ),
        ("x", lambda folder, pose: bare(folder), None, "no model card found"),
        ("x", lambda folder, pose: empty_zip(folder), None, "holds 0 ONNX models"),
    ],
)
def test_faults(tmp_path, home, pose, name, make, digest, words):
    with pytest.raises(ModelError, match=words) as error:
        add_model(name, make(tmp_path, pose), digest)
    assert "\n" not in str(error.value)
    assert installed_models() == shipped_models()
    left = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not left


def text(file):
    file.write_text("hello")
    return str(file)


def bare(folder):
    return str(spot_pose_model(folder, with_card=False, name="bare.onnx"))


def empty_zip(folder):
    with zipfile.ZipFile(folder / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    return str(folder / "empty.zip")


def test_a_default_that_is_gone(home, pose):
    add_model("spots", str(pose))
    use_model("spots")
    (home / "models" / "spots.onnx").unlink()
    with pytest.raises(ModelError, match="'spots' is not installed"):
        resolve_model(None, "pose")
    listed = CliRunner().invoke(command, ["models"])
    assert listed.exit_code == 0 and "pose-hr" in listed.output
    assert "The default pose 'spots' is not installed" in listed.output
    remove_model("spots")
    assert default_model("pose") == "pose-hr"
    assert not list((home / "models").iterdir())


@pytest.mark.parametrize("what", [use_model, remove_model])
def test_unknown_names(what):
    with pytest.raises(ModelError, match="nobody: "):
        what("nobody")


def test_shipped_models_cannot_be_removed():
    for name in shipped_models():
        with pytest.raises(ModelError, match="not a model that was added"):
            remove_model(name)


def test_broken_choices(home):
    home.mkdir()
    (home / "defaults.toml").write_text("pose = [")
    with pytest.raises(ModelError, match=r"defaults\.toml: cannot read"):
        default_model("pose")


def test_commands(pose):
    def run(*arguments):
        result = CliRunner().invoke(
            command, ["models", *map(str, arguments)], env={"COLUMNS": "200"}
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "spots: a pose model, card 'colour spots'" in run("add", "spots", pose)
    assert "default pose" in run("use", "spots")
    assert "colour spots" in run()
    assert 'decoder = "dark"' in run("show", "spots")
    assert "removed" in run("remove", "spots")


def test_show_says_how_to_get_a_model_of_the_catalogue():
    result = CliRunner().invoke(command, ["models", "show", "rtmpose-m"])
    assert result.exit_code
    assert "rmpe models get rtmpose-m" in str(result.exception)


def test_an_error_names_the_source_not_where_it_was_made_ready(tmp_path):
    source = bare(tmp_path)
    with pytest.raises(ModelError) as caught:
        add_model("x", source)
    assert str(caught.value).startswith(f"{source}: no model card found")
    assert "downloads" not in str(caught.value)
