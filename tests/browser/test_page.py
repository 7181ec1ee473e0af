"""The page in Chromium, with the models that ship: by mouse, by keys, with a fake camera."""

import csv
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ROOT

from rmpe.cards import METADATA_KEY, find_card
from rmpe.runtime import Session

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
PHOTO = ROOT / "examples" / "basketball1.png"
# Milliseconds until something that does not come is a fault: other work may run beside.
PATIENCE = 120_000
SIZES = {"wide": (1400, 900), "middle": (820, 900), "small": (320, 640)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server with the models that ship, and a transformer that moves every proposal."""
    from serving import Process

    folder = tmp_path_factory.mktemp("stn")
    shipped = ROOT / "src" / "rmpe" / "data" / "models" / "stn-lite.onnx"
    card = replace(find_card(Session(shipped, "cpu")), keep_overlap=1.0)
    model = onnx.load(shipped)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_toml()})
    stn = folder / "moving.onnx"
    onnx.save(model, stn)
    running = Process(["--stn", str(stn)], tmp_path_factory.mktemp("jobs"))
    yield running
    running.end()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        # As root, as in containers, Chromium's own sandbox is not there.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, server):
    """How to open the page; at the end: nothing foreign asked for, no complaint."""
    opened = []

    def open_page(size="wide", scheme="light", fragment=""):
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.asked = []
        page.complaints = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda line: line.type == "error" and page.complaints.append(line.text))
        page.goto(server.url + "/" + fragment)
        page.wait_for_selector("body[data-ready=yes]")
        opened.append((context, page))
        return page

    yield open_page
    for context, page in opened:
        foreign = [url for url in page.asked if not url.startswith((server.url, "blob:", "data:"))]
        context.close()
        assert not foreign
        assert not page.complaints


def upload(page, *files):
    page.set_input_files("#file", [str(file) for file in files])
    page.wait_for_selector("#people button")


def saved(page, label):
    with page.expect_download() as download:
        page.click(f"#saves button:text-is('{label}')")
    return Path(download.value.path()).read_bytes()


def api(server, path="", photo=PHOTO):
    import httpx

    return httpx.post(f"{server.url}/v1/poses{path}", content=photo.read_bytes(), timeout=60)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_photo_at_every_size_and_in_both_schemes(visit, size, scheme):
    page = visit(size, scheme)
    upload(page, PHOTO)
    assert "2 people" in page.inner_text("#count")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    stage = page.locator("#stage").bounding_box()
    assert stage["x"] >= 0 and stage["x"] + stage["width"] <= SIZES[size][0]
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, summary')].filter((e) => e.offsetParent"
        " && e.getBoundingClientRect().height < 20).map((e) => e.outerHTML)"
    )
    assert small == []


def test_joints_lie_where_the_answer_says(visit, server):
    page = visit()
    upload(page, PHOTO)
    answer = api(server).json()
    drawn = page.evaluate(
        "[...document.querySelectorAll('circle[data-joint]')].map((c) => [+c.dataset.person,"
        " +c.dataset.joint, +c.getAttribute('cx'), +c.getAttribute('cy')])"
    )
    assert len(drawn) > 20
    for person, joint, x, y in drawn:
        assert answer["people"][person]["keypoints"][3 * joint : 3 * joint + 2] == [x, y]
    picture = page.evaluate(
        "[document.getElementById('picture').width, document.getElementById('picture').height]"
    )
    assert picture == [answer["image"]["width"], answer["image"]["height"]]


def test_a_joint_by_mouse(visit):
    page = visit()
    upload(page, PHOTO)
    joint = page.locator("circle[data-person='0'][data-joint='0']")
    box = joint.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.inner_text("#joint").startswith("nose, person 1: x ")
    page.mouse.move(5, 5)
    assert "Point at a joint" in page.inner_text("#joint")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(5, 5)
    assert page.inner_text("#joint").startswith("nose, person 1: x ")


def test_everything_by_keys(visit):
    page = visit()
    upload(page, PHOTO)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.joint"):
            break
    first = page.inner_text("#joint")
    assert first.startswith("nose, person ")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#joint").startswith("left eye, person ")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#joint") == first
    page.keyboard.press("ArrowDown")
    other = page.inner_text("#joint")
    assert other.split(":")[0] != first.split(":")[0]
    page.keyboard.press("Escape")
    assert "Point at a joint" in page.inner_text("#joint")
    page.focus("#score")
    page.keyboard.press("End")
    assert "No people" in page.inner_text("#count")


def test_the_slider_hides_and_shows(visit, server):
    page = visit()
    upload(page, PHOTO)
    scores = [person["score"] for person in api(server).json()["people"]]
    for least in (0.05, 0.3, 0.6, 0.95):
        page.fill("#score", str(least))
        shown = sum(score >= least for score in scores)
        assert page.locator("#people button").count() == shown
        assert page.locator("#overlay > g:not(.ring)").count() == shown


def test_boxes_numbers_colours_and_one_person(visit):
    page = visit()
    upload(page, PHOTO)
    assert page.locator("#overlay rect").count() == 0
    page.check("#boxes")
    page.check("#stn")
    assert page.locator("#overlay rect").count() == 8
    assert page.locator("#overlay text").all_text_contents() == ["2", "1"]
    page.uncheck("#ids")
    assert page.locator("#overlay text").count() == 0
    fills = (
        "new Set([...document.querySelectorAll(\"circle[data-person='0']\")]"
        ".map((c) => c.getAttribute('fill'))).size"
    )
    assert page.evaluate(fills) == 3
    page.select_option("#colours", "person")
    assert page.evaluate(fills) == 1
    page.click("#people li:first-child button")
    assert page.locator("#overlay g.dim").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("#overlay g.dim").count() == 0


def test_what_is_saved_is_what_the_server_says(visit, server):
    page = visit()
    upload(page, PHOTO)
    table = saved(page, "CSV")
    assert table == api(server, "?format=csv&min_score=0.3").content
    assert len(list(csv.reader(io.StringIO(table.decode())))) == 3
    kept = json.loads(saved(page, "JSON"))
    expected = api(server).json()
    assert kept["people"] == [person for person in expected["people"] if person["score"] >= 0.3]
    from rmpe.media.images import read_image

    drawn = read_image(saved(page, "PNG"))
    before = read_image(PHOTO)
    assert drawn.shape == before.shape
    changed = np.abs(drawn.astype(int) - before).max(axis=2) > 8
    assert 0.005 < changed.mean() < 0.2


def test_a_camera(visit):
    page = visit()
    page.click("#camera")
    page.wait_for_selector("#frame:not([hidden])")
    page.wait_for_function("document.getElementById('times').textContent.includes('pictures/s')")
    assert page.inner_text("#camera") == "Stop camera"
    page.click("#camera")
    assert page.inner_text("#camera") == "Camera"
    sent = sum(url.endswith("/v1/poses") for url in page.asked)
    page.wait_for_timeout(1500)
    assert sum(url.endswith("/v1/poses") for url in page.asked) <= sent + 1


def test_a_video(visit, tmp_path):
    from rmpe.media.images import read_image
    from rmpe.media.video_writer import VideoWriter

    image = read_image(PHOTO)
    with VideoWriter(tmp_path / "clip.mp4", fps=5) as writer:
        for number in range(8):
            writer.write(np.roll(image, 4 * number, axis=1), number / 5)
    page = visit()
    page.set_input_files("#file", str(tmp_path / "clip.mp4"))
    page.wait_for_selector("#player:not([hidden])")
    assert page.get_attribute("#timeline", "aria-valuemax") == "7"
    assert page.locator("#people button").count() >= 1
    before = page.locator("circle[data-joint='0']").first.get_attribute("cx")
    page.focus("#timeline")
    page.keyboard.press("End")
    assert page.inner_text("#clock") == "0:01 · frame 7"
    assert page.locator("circle[data-joint='0']").first.get_attribute("cx") != before
    page.click("#back")
    assert page.inner_text("#clock") == "0:01 · frame 6"
    assert saved(page, "MP4")[4:8] == b"ftyp"
    table = list(csv.reader(io.StringIO(saved(page, "CSV").decode())))
    assert {row[0] for row in table[1:]} == {str(number) for number in range(8)}
    again = visit(fragment=page.url.rsplit("/", 1)[1])
    again.wait_for_selector("#player:not([hidden])")
    assert again.get_attribute("#timeline", "aria-valuemax") == "7"


def test_what_is_wrong_is_said(visit, tmp_path):
    page = visit()
    (tmp_path / "no.png").write_bytes(b"hello")
    page.set_input_files("#file", str(tmp_path / "no.png"))
    page.wait_for_selector("#alert:not([hidden])")
    assert "not an image of a known kind" in page.inner_text("#alert")
    page.complaints[:] = [text for text in page.complaints if "415" not in text]
    upload(page, PHOTO)
    assert page.is_hidden("#alert")
    page.set_input_files("#file", [str(PHOTO), str(ROOT / "examples" / "basketball2.png")])
    page.wait_for_selector("#strip:not([hidden])")
    assert page.locator("#strip button").count() == 4


def test_413_reaches_a_page_that_is_still_sending(visit):
    page = visit()
    send = "fetch('/v1/poses', {method: 'POST', body: new Blob([new Uint8Array(21e6)])})"
    assert page.evaluate(f"{send}.then((answer) => answer.status)") == 413
    page.complaints[:] = [text for text in page.complaints if "413" not in text]


def test_a_token_is_asked_for(chromium, tmp_path):
    from serving import TOKEN, Process

    (tmp_path / "token").write_text(TOKEN)
    running = Process(["--token-file", str(tmp_path / "token")], tmp_path / "jobs")
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(running.url)
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-ready=yes]")
    upload(page, PHOTO)
    assert TOKEN not in page.url
    page.close()
    running.end()
    assert TOKEN not in "".join(running.lines)
