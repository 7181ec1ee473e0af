"""The page in the browser: its own files, what it shares with `rmpe serve`, models and engines."""

import gzip
import hashlib
import json
import logging
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from rmpe.cards import ModelCard, find_card
from rmpe.estimate.score import SEEN
from rmpe.options import PipelineOptions
from rmpe.quantise import dequantise
from rmpe.runtime import Session
from rmpe.serve.answers import skeleton_json
from rmpe.skeletons import load_skeleton
from rmpe.suppress.parametric import DEFAULT

sys.path.append(str(Path(__file__).parent.parent))
from engines import ENGINES, VERSION
from engines import FOLDER as FETCHED
from engines import there as engines_there

LOG = logging.getLogger("mkdocs.hooks.demo_files")
ROOT = Path(__file__).resolve().parent.parent.parent
OWN = ROOT / "website" / "demo"
SHARED = ROOT / "src" / "rmpe" / "serve" / "static"
SHARED_NAMES = ("page.js", "overlay.js", "style.css", "icon.svg")
# A part of the page of `rmpe serve`, and the line of this page that stands for it.
SHARED_PART = re.compile(
    r"^<!-- shared: (\w+) -->\n(.*?)^<!-- /shared -->\n", re.DOTALL | re.MULTILINE
)
PLACE = re.compile(r"^<!-- shared: (\w+) -->\n", re.MULTILINE)
MODELS = ROOT / "src" / "rmpe" / "data" / "models"
# Of the pose models the quicker one: a browser takes several times as long as ONNX Runtime.
STAGES = {"detector": ("detector-person.onnx", "boxes"), "pose": ("pose-lite.onnx", "dark")}
TRANSFORMER = ("stn", "theta")
EXAMPLE = ROOT / "examples" / "pedestrians.jpg"
PAGE = "index.html"
WORKER = "offline.js"
# What the page reads of a card.
FIELDS = (
    *("name", "size", "stride", "mean", "sd", "growth", "alignment", "blur"),
    *("score_threshold", "nms", "voters", "keep_overlap", "second_look", "license"),
)


def packed(contents: bytes) -> bytes:
    """A model as the page downloads it; the same bytes every time.

    The bytes of its numbers lie apart, first all the first ones: alike bytes pack better.
    """
    whole = len(contents) // 4 * 4
    planes = b"".join(contents[plane:whole:4] for plane in range(4))
    return gzip.compress(planes + contents[whole:], 6, mtime=0)


def card_of(path: Path, decoder: str) -> ModelCard:
    """The card of a model that the page can run.

    Raises:
        PluginError: If it is of a kind that the page's JavaScript does not decode.
    """
    card = find_card(Session(path, "cpu", 1))
    if card.decoder != decoder or card.color != "rgb" or card.layout != "nchw":
        raise PluginError(f"{path}: the page in the browser decodes {decoder!r}, rgb, nchw only")
    return card


def described(name: str, contents: bytes, small: bytes) -> dict[str, Any]:
    """A file that is downloaded packed and kept under its hash."""
    digest = hashlib.sha256(contents).hexdigest()
    return {"url": name, "sha256": digest, "packed_bytes": len(small)}


def large_files() -> tuple[dict[str, Any], dict[str, bytes]]:
    """What models.json says, and the files that it names."""
    files: dict[str, bytes] = {}
    about: dict[str, Any] = {"engines": {}}
    pose = card_of(MODELS / STAGES["pose"][0], STAGES["pose"][1])
    stages = dict(STAGES)
    if pose.stn:  # the card says which transformer stands before the model
        stages[TRANSFORMER[0]] = (f"{pose.stn}.onnx", TRANSFORMER[1])
    for stage, (name, decoder) in stages.items():
        contents = dequantise(MODELS / name)  # WebAssembly is slower in int8
        card = card_of(MODELS / name, decoder)
        small = packed(contents)
        files[f"files/{name}.gz"] = small
        about[stage] = described(f"files/{name}.gz", contents, small) | {"apart": True}
        about[stage]["card"] = {field: asdict(card)[field] for field in FIELDS}
    if engines_there():
        for kind, engine in ENGINES.items():
            small = (FETCHED / f"{engine.wasm}.gz").read_bytes()
            script = f"engines/{VERSION}/{engine.script}"
            files[f"engines/{VERSION}/{engine.wasm}.gz"] = small
            files[script] = (FETCHED / engine.script).read_bytes()
            wasm = described(f"engines/{VERSION}/{engine.wasm}.gz", gzip.decompress(small), small)
            about["engines"][kind] = {"script": script, "wasm": wasm}
    else:
        LOG.info("the page in the browser gets no engine; `make site` fetches it")
    options = PipelineOptions()
    about |= {
        "nms": asdict(DEFAULT),
        "limit": options.limit,
        "min_score": options.min_score,
        "seen": SEEN,
        "skeleton": skeleton_json(load_skeleton(pose.skeleton)),
    }
    return about, files


def whole_page() -> str:
    """This page's HTML, with the parts that are those of `rmpe serve`.

    Raises:
        PluginError: If that page has no part of a name.
    """
    parts = dict(SHARED_PART.findall((SHARED / PAGE).read_text("utf-8")))
    own = (OWN / PAGE).read_text("utf-8")
    if missing := set(PLACE.findall(own)) - parts.keys():
        raise PluginError(f"{SHARED / PAGE}: no part is called {', '.join(sorted(missing))}")
    return PLACE.sub(lambda place: parts[place[1]], own)


def small_files(about: dict[str, Any]) -> dict[str, bytes]:
    """The page itself: everything that the service worker keeps, and the service worker."""
    files = {path.name: path.read_bytes() for path in sorted(OWN.iterdir())}
    files[PAGE] = whole_page().encode()
    files |= {name: (SHARED / name).read_bytes() for name in SHARED_NAMES}
    files["example.jpg"] = EXAMPLE.read_bytes()
    files["models.json"] = json.dumps(about).encode()
    script = files.pop(WORKER).decode()
    kept = sorted(files)
    if "wasm" in about["engines"]:
        kept.append(about["engines"]["wasm"]["script"])
    version = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:16]
    head = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(kept)};\n"
    files[WORKER] = (head + script).encode()
    return files


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    about, large = large_files()
    for name, contents in {**large, **small_files(about)}.items():
        files.append(File.generated(config, f"demo/{name}", content=contents))
    return files
