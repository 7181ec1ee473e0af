"""Fetching models: whatever the publisher does, the right file or one line, never a wrong file."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from conftest import ROOT

pytest.importorskip("onnx")

import rmpe.download
from benchmarks.robustness.hostile_publisher import (
    NAME,
    QUICK,
    RIGHT,
    Behaviour,
    Publisher,
    behaviours,
    made_catalogue,
    made_model,
    process,
    try_two_processes,
    verdict,
    zipped,
)
from rmpe.catalogue import read_catalogue, shipped_catalogue
from rmpe.download import Limits, download, host_of
from rmpe.errors import DataError, ModelError
from rmpe.install.add import add_model
from rmpe.install.carry import export_models, import_models
from rmpe.install.get import get_model, verify_entry
from rmpe.install.place import remove_model
from rmpe.install.records import known_models, verify_models
from rmpe.models import installed_models, shipped_models


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(rmpe.download, "LIMITS", QUICK)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def publisher():
    with Publisher() as server:
        yield server


RIGHT_FILE = {
    "none", "cut after 30 %", "cut after 90 %", "cut after 30 %, no ranges", "500, then right",
    "redirect to another host", "claims to be compressed", "other bytes, right at the mirror",
    "404, right at the mirror", "zip: member outside its folder",
}  # fmt: skip
FAULTS = [(name, packed) for packed in (False, True) for name in behaviours(packed, "http://x:1")]


@pytest.mark.parametrize(("fault", "packed"), FAULTS)
def test_a_fault_gives_the_right_file_or_one_line(home, publisher, fault, packed):
    publisher.paths = behaviours(packed, publisher.address)[fault]
    catalogue = made_catalogue(publisher.address, zip_file=packed)
    try:
        error = None
        get_model(catalogue.models[0], catalogue=catalogue)
    except ModelError as refusal:
        error = str(refusal)
    assert verdict(home, error) == ("right file" if fault in RIGHT_FILE else "refused"), error
    left = [path for path in home.rglob("*") if path.is_file() and "models" not in path.parts]
    kept = {".lock", ".part", ".json"} | ({".toml"} if error is None else set())
    assert {path.suffix for path in left} <= kept


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_later_call_goes_on_where_an_earlier_one_ended(home, publisher, share):
    body = made_model()
    cut = Behaviour(body, cut=share)
    publisher.paths = {"/m.onnx": cut}
    catalogue = made_catalogue(publisher.address, zip_file=False)
    file = home / "file"
    home.mkdir()
    once = replace(QUICK, most_tries=1)
    with pytest.raises(ModelError, match=f"ended after {round(len(body) * share)} of {len(body)}"):
        download(f"{publisher.address}/m.onnx", file, limits=once)
    publisher.paths = {"/m.onnx": Behaviour(body)}
    done = download(f"{publisher.address}/m.onnx", file, limits=once)
    assert file.read_bytes() == body
    # Where the answer began and what came, not what was sent: the server counts a piece after it.
    assert publisher.began["/m.onnx"] == [0, round(len(body) * share)]
    assert done.resumed and done.transferred == len(body) - round(len(body) * share)
    assert [path.name for path in home.iterdir()] == ["file"]
    assert catalogue.models[0].sha256 == hashlib.sha256(body).hexdigest()


def test_wrong_bytes_of_an_interrupted_download_are_fetched_anew(home, publisher):
    """The validator is the same, the bytes are not: only the hash can tell."""
    body = made_model()
    publisher.paths = {"/m.onnx": Behaviour(bytes(len(body)), cut=0.5)}
    catalogue = made_catalogue(publisher.address, zip_file=False)
    with pytest.raises(ModelError):
        get_model(catalogue.models[0], catalogue=catalogue)
    folder = home / "downloads" / NAME
    (folder / "m.onnx.part").write_bytes(bytes(700_000))
    note = {"address": f"{publisher.address}/m.onnx", "validator": '"1"'}
    (folder / "m.onnx.part.json").write_text(json.dumps(note))
    publisher.paths = {"/m.onnx": Behaviour(body)}
    assert get_model(catalogue.models[0], catalogue=catalogue).state == "installed"
    assert verdict(home, None) == "right file"


def test_twice_is_once(home, publisher):
    publisher.paths = {"/m.zip": Behaviour(zipped(made_model()))}
    catalogue = made_catalogue(publisher.address, zip_file=True)
    states = [get_model(catalogue.models[0], catalogue=catalogue).state for _ in range(2)]
    assert states == ["installed", "already there"]
    assert publisher.asked["/m.zip"] == 1
    known = known_models()[NAME]
    assert (known.sha256, known.trust) == (RIGHT, "catalogue, hash from 3 sources")
    assert known.source == f"{publisher.address}/m.zip"


def test_two_processes_at_once_download_once():
    assert try_two_processes() == ("right file", 1)


def test_a_killed_process_leaves_no_file_and_no_lock(home, publisher):
    publisher.paths = {"/m.zip": Behaviour(zipped(made_model()), pause=0.02, piece=20_000)}
    running = process(publisher.address, home)
    part = home / "downloads" / NAME / "m.zip.part"
    while not (part.is_file() and part.stat().st_size > 100_000):
        assert running.poll() is None, running.communicate()
    running.kill()
    running.communicate()
    assert verdict(home, "killed") == "refused"
    publisher.paths = {"/m.zip": Behaviour(zipped(made_model()))}
    catalogue = made_catalogue(publisher.address, zip_file=True)
    get_model(catalogue.models[0], catalogue=catalogue)
    assert verdict(home, None) == "right file"
    first, second = publisher.began["/m.zip"]
    assert first == 0 and second > 100_000


def test_another_file_has_the_name(home, publisher, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(made_model(1))
    card = tmp_path / "other.toml"
    card.write_text('kind = "detector"\nname = "x"\ndecoder = "nms-boxes"\n')
    add_model(NAME, str(other))
    catalogue = made_catalogue(publisher.address, zip_file=False)
    with pytest.raises(ModelError, match="rmpe models remove"):
        get_model(catalogue.models[0], catalogue=catalogue)
    assert not publisher.asked


def test_without_a_hash_the_first_one_is_trusted_and_no_other(home, publisher):
    publisher.paths = {"/m.onnx": Behaviour(made_model())}
    catalogue = made_catalogue(publisher.address, zip_file=False, pinned=False)
    entry = catalogue.models[0]
    assert "first use" in get_model(entry, catalogue=catalogue).detail
    assert known_models()[NAME].sha256 == RIGHT
    remove_model(NAME)
    publisher.paths["/m.onnx"] = Behaviour(made_model(1))
    with pytest.raises(ModelError, match=RIGHT):
        get_model(entry, catalogue=catalogue)
    publisher.paths["/m.onnx"] = Behaviour(made_model())
    assert get_model(entry, catalogue=catalogue).state == "installed"


def test_add_trusts_an_address_once(home, publisher, tmp_path):
    card = tmp_path / "card.toml"
    card.write_text('kind = "detector"\nname = "x"\ndecoder = "nms-boxes"\n')
    address = f"{publisher.address}/m.onnx"
    publisher.paths = {"/m.onnx": Behaviour(made_model())}
    assert "first use" in add_model("one", address, card=card).trust
    publisher.paths = {"/m.onnx": Behaviour(made_model(1))}
    found = hashlib.sha256(made_model(1)).hexdigest()
    with pytest.raises(ModelError, match=f"--sha256 {found}"):
        add_model("two", address, card=card)
    assert "--sha256" in add_model("two", address, found, card).trust
    assert set(installed_models()) == {*shipped_models(), "one", "two"}


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (Behaviour(b"x", endless=True), "more than"),
        (Behaviour(b"x" * 99999, pause=0.2, piece=200), "too slow"),
        (Behaviour(b"x", hang=True), "cannot download"),
        (Behaviour(b"x", raw=b"\0\1garbage\r\n\r\n"), "cannot download"),
        (Behaviour(b"x", raw=b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n"), "header"),
        (Behaviour(b"x", raw=b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc"), "bytes"),
        (Behaviour(b"x" * 100, length=10**15), "more than"),
        (Behaviour(b"x" * 100, chunked=True), "cannot download"),
        (Behaviour(b"PK\3\4 nonsense"), "cannot be unpacked"),
        (Behaviour(b"hello"), "not a model"),
    ],
)
def test_faults_of_add(home, publisher, monkeypatch, behaviour, words):
    monkeypatch.setattr("rmpe.download.MOST_BYTES", 10**6)
    monkeypatch.setitem(download.__kwdefaults__, "most", 10**6)
    publisher.paths = {"/m.onnx": behaviour}
    with pytest.raises(ModelError, match=words) as error:
        add_model("x", f"{publisher.address}/m.onnx")
    assert "\n" not in str(error.value)
    assert installed_models() == shipped_models()


@pytest.mark.parametrize(
    "address",
    ["http://", "http://[::1", "http://127.0.0.1:99999/x", "http://ex\u00a0ample/x", "http:///x"],
)
def test_addresses_that_are_none(home, address):
    with pytest.raises(ModelError):
        host_of(address)
    with pytest.raises(ModelError):
        add_model("x", address)


def test_a_drip_of_headers_ends(home, tmp_path):
    class Drip(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                for _ in range(1000):
                    self.wfile.write(b"H")
                    if stop.wait(0.05):
                        return
            except OSError:
                pass

        def log_message(self, *arguments):
            pass

    stop = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drip)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    limits = Limits(silence=0.3, tries=1, pause=0)
    with pytest.raises(ModelError, match="no answer in"):
        download(f"http://127.0.0.1:{server.server_port}/x", tmp_path / "x", limits=limits)
    stop.set()
    server.shutdown()
    server.server_close()


def test_a_proxy_is_honoured(home, publisher, monkeypatch):
    """The proxy is the publisher itself: it sees the whole address of an unknown host."""
    body = made_model()
    publisher.paths = {"http://publisher.invalid/m.onnx": Behaviour(body)}
    monkeypatch.setenv("http_proxy", publisher.address)
    catalogue = made_catalogue("http://publisher.invalid", zip_file=False)
    assert get_model(catalogue.models[0], catalogue=catalogue).state == "installed"


def test_a_mirror_of_ones_own(home, publisher):
    publisher.paths = {"/mine/m.zip": Behaviour(zipped(made_model()))}
    catalogue = made_catalogue("http://127.0.0.1:1", zip_file=True)
    mirror = f"{publisher.address}/mine/"
    assert get_model(catalogue.models[0], catalogue=catalogue, mirror=mirror).state == "installed"


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_carried_by_hand(home, tmp_path, packed):
    catalogue = made_catalogue("http://127.0.0.1:1", zip_file=True)
    file = tmp_path / ("m.zip" if packed else "m.onnx")
    file.write_bytes(zipped(made_model()) if packed else made_model())
    entry = catalogue.models[0]
    assert get_model(entry, catalogue=catalogue, file=file).state == "installed"
    assert verdict(home, None) == "right file"
    remove_model(NAME)
    file.write_bytes(zipped(made_model(1)) if packed else made_model(1))
    with pytest.raises(ModelError, match="not installed"):
        get_model(entry, catalogue=catalogue, file=file)
    assert file.is_file()


def test_export_and_import(home, tmp_path, monkeypatch, publisher):
    with pytest.raises(ModelError, match="nothing to export"):
        export_models(tmp_path / "stick")
    publisher.paths = {"/m.onnx": Behaviour(made_model())}
    catalogue = made_catalogue(publisher.address, zip_file=False)
    get_model(catalogue.models[0], catalogue=catalogue)
    stick = tmp_path / "stick"
    assert [outcome.name for outcome in export_models(stick)] == [NAME]
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "offline"))
    assert [outcome.state for outcome in import_models(stick, catalogue)] == ["installed"]
    assert [outcome.state for outcome in import_models(stick, catalogue)] == ["already there"]
    assert known_models()[NAME].trust == "catalogue, hash from 3 sources"
    remove_model(NAME)
    data = bytearray((stick / f"{NAME}.onnx").read_bytes())
    data[1000] ^= 1
    (stick / f"{NAME}.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        import_models(stick, catalogue)
    # A manifest that was changed with it does not help: the catalogue knows the hash, too.
    manifest = (stick / "models.toml").read_text()
    (stick / "models.toml").write_text(manifest.replace(RIGHT, hashlib.sha256(data).hexdigest()))
    with pytest.raises(ModelError, match=RIGHT):
        import_models(stick, catalogue)
    with pytest.raises(ModelError, match=r"models\.toml"):
        import_models(tmp_path)


def test_verify(home, publisher):
    assert verify_models() == []
    publisher.paths = {"/m.onnx": Behaviour(made_model())}
    catalogue = made_catalogue(publisher.address, zip_file=False)
    get_model(catalogue.models[0], catalogue=catalogue)
    assert [outcome.state for outcome in verify_models()] == ["right"]
    with (home / "models" / f"{NAME}.onnx").open("ab") as file:
        file.write(b"x")
    (home / "models" / "stranger.onnx").write_bytes(b"x")
    assert [outcome.state for outcome in verify_models()] == ["changed", "no record"]


def test_verify_the_catalogue(home, publisher, tmp_path):
    publisher.paths = {
        "/m.zip": Behaviour(zipped(made_model())),
        "/mirror/m.zip": Behaviour(zipped(made_model(1))),
    }
    catalogue = made_catalogue(publisher.address, zip_file=True)
    outcomes = verify_entry(catalogue.models[0], tmp_path, catalogue=catalogue)
    assert [outcome.state for outcome in outcomes] == ["right", "wrong"]
    assert installed_models() == shipped_models()


@contextmanager
def run(home, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "rmpe", *arguments],
        check=False,
        env=os.environ | {"RMPE_HOME": str(home), "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr
    yield done


def test_nothing_is_downloaded_without_a_yes(home, publisher):
    with run(home, "models", "get", "rtmpose-m", "--mirror", publisher.address) as done:
        assert done.returncode == 2
        assert "54 MB from 127.0.0.1" in done.stderr and "Apache-2.0" in done.stderr
        assert f"rmpe models get rtmpose-m --mirror {publisher.address} -y" in done.stderr
    assert not publisher.asked


def test_get_by_command_with_the_mirror_of_the_environment(home, publisher):
    publisher.paths = {"/yolox_nano.onnx": Behaviour(b"x" * 3659407)}
    with run(home, "models", "get", "yolox-nano", "-y", RMPE_MIRROR=publisher.address) as done:
        assert done.returncode == 2
        assert "c789161ed43c8269" in done.stderr and done.stderr.count("not installed") == 1
    assert publisher.asked["/yolox_nano.onnx"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("models", "get", "rtmpose-n"), 2, "did you mean 'rtmpose-"),
        (("models", "get", "balanced", "--from", __file__), 2, "name one"),
        (("models", "use", "balanced"), 2, "not installed: rmpe models get yolox-s (36 MB"),
        (("models", "verify"), 0, "no model was added"),
        (("models", "export", "somewhere"), 2, "nothing to export"),
        (
            ("predict", __file__, "--out", "x", "--pose", "rtmpose-m"),
            2,
            "not installed: rmpe models get rtmpose-m (54 MB, Apache-2.0)",
        ),
    ],
)
def test_commands(home, arguments, code, words):
    if arguments[0] == "predict":
        arguments = (arguments[0], str(ROOT / "examples" / "basketball1.png"), *arguments[2:])
    with run(home, *arguments) as done:
        assert done.returncode == code
        assert words in done.stdout + done.stderr


def test_catalogue_by_command(home):
    with run(home, "models", "catalogue") as done:
        assert "rtmpose-m" in done.stdout and "balanced: yolox-s + rtmpose-m" in done.stdout
    with run(home, "models", "catalogue", "--json") as done:
        rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["name"] for row in rows} == {entry.name for entry in shipped_catalogue().models}
    assert all(row["installed"] == "no" and row["ap_source"] for row in rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("place = ", "plce = "), "did you mean 'place'"),
        (("[places]", "[nowhere]"), "nowhere"),
        (('place = "here"', 'place = "there"'), "has no addresses"),
        (("bundles = {}", 'bundles = { all = ["x"] }'), "'x', which is not there"),
        (("bundles = {}", f'bundles = {{ {NAME} = ["{NAME}"] }}'), "there twice"),
        (("bundles", "= bundles"), "not valid TOML"),
        (("nms-boxes", "magic"), "magic"),
    ],
)
def test_a_broken_catalogue(change, words):
    text = f"""
    bundles = {{}}
    [places]
    here = ["http://x/"]
    [[models]]
    name = "{NAME}"
    place = "here"
    file = "m.onnx"
    people = "x"
    ap = 1.0
    measure = "x"
    ap_source = "x"
    cite = "x"
    card = {{ kind = "detector", name = "x", decoder = "nms-boxes" }}
    """
    assert read_catalogue(text, "c").find(NAME).size == "size unknown"
    with pytest.raises(DataError, match=words):
        read_catalogue(text.replace(*change), "c")
