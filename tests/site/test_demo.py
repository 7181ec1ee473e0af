"""The page in the browser, in Chromium: what it finds and downloads, and that nothing leaves."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from tiny_models import float_models

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("mkdocs")
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm, which fetches the engine"),
]
# Minutes of work: only where somebody asks for the tests of the pages.
long = pytest.mark.skipif(
    not os.environ.get("RMPE_BROWSER"), reason="takes minutes: make test-browser"
)
PHOTO = ROOT / "examples" / "basketball1.png"
MEGABYTE = 1e6


class Counting(SimpleHTTPRequestHandler):
    """Serves the site, and counts what it is asked and what it sends."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def copyfile(self, source, outputfile):
        contents = source.read()
        self.server.sent += len(contents)
        outputfile.write(contents)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The built site, with the engine."""
    subprocess.run([sys.executable, "website/engines.py"], cwd=ROOT, check=True)
    site = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)]
    subprocess.run(build, cwd=ROOT, check=True)
    return site


@pytest.fixture
def server(folder):
    """A server of its own for each test, so that every test is a first visit."""
    handler = partial(Counting, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.asked = []
        running.sent = 0
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


FLAGS = ("--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


@pytest.fixture(scope="module")
def driver():
    with playwright.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(driver):
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
    yield browser
    browser.close()


@pytest.fixture
def visit(chromium, server):
    """How to open the page; at the end: nobody else was asked, and nothing was sent."""
    contexts = []

    def open_page(width=1200, height=850, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        context.asked = []
        context.complaints = []
        context.on("request", lambda request: context.asked.extend([request]))
        page = context.new_page()
        page.on("pageerror", lambda error: context.complaints.append(str(error)))
        page.on(
            "console", lambda line: line.type == "error" and context.complaints.append(line.text)
        )
        contexts.append(context)
        page.goto(f"{server.url}/demo/index.html")
        page.wait_for_selector("body[data-ready=yes]")
        return page

    yield open_page
    for context in contexts:
        own = (server.url, "blob:", "data:")
        foreign = [one.url for one in context.asked if not one.url.startswith(own)]
        sent = [one.url for one in context.asked if one.method != "GET" or one.post_data]
        context.close()
        assert not foreign
        assert not sent
        assert not context.complaints


def upload(page, *files):
    page.set_input_files("#file", [str(file) for file in files])
    page.wait_for_selector("#people button", timeout=120_000)


def until(page, true, seconds=120):
    """Wait until an expression holds; the page forbids Playwright's own way, which is `eval`."""
    end = time.monotonic() + seconds
    while not page.evaluate(true):
        assert time.monotonic() < end, true
        page.wait_for_timeout(200)


def saved(page, label):
    with page.expect_download() as download:
        page.click(f"#saves button:text-is('{label}')")
    return Path(download.value.path()).read_bytes()


def python_people(photo, folder):
    """With the models as the page has them: in float."""
    import rmpe

    files = float_models(folder)
    models = (files["detector-person"], files["pose-lite"])
    poses = rmpe.load(*models, stn=files["stn-lite"], threads=1)(rmpe.read_image(photo))
    return poses[poses.scores >= 0.3]


def test_a_photo_as_python_sees_it(visit, server, tmp_path):
    page = visit()
    upload(page, PHOTO)
    assert server.sent <= 20 * MEGABYTE
    found = json.loads(saved(page, "JSON"))
    expected = python_people(PHOTO, tmp_path)
    assert len(found) == len(expected)
    for person, box, joints, scores, score in zip(
        found,
        expected.boxes,
        expected.keypoints,
        expected.keypoint_scores,
        expected.scores,
        strict=True,
    ):
        rows = np.array(person["keypoints"]).reshape(-1, 3)
        size = (box[2:] - box[:2]).max()
        sure = scores > 0.3
        away = np.hypot(*(rows[:, :2] - joints).T)[sure] / size
        assert np.median(away) < 0.005
        assert abs(person["score"] - score) < 0.03


def average_precision(annotations, ids, results):
    """COCO's keypoint AP in percent over some photos."""
    tools = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = tools.COCO(str(annotations))
        run = evaluation.COCOeval(truth, truth.loadRes(results), "keypoints")
        run.params.imgIds = ids
        run.evaluate()
        run.accumulate()
        run.summarize()
    return 100 * run.stats[0]


@long
def test_50_photos_as_well_as_python(visit, data_root, record_property):
    import rmpe

    annotations = data_root / "data" / "coco-val" / "annotations.json"
    listed = json.loads(annotations.read_text("utf-8"))["images"]
    photos = sorted(listed, key=lambda photo: photo["id"])[:50]
    estimator = rmpe.load(pose="pose-lite", threads=1)
    page = visit()
    page.click("#example")  # loads the models
    page.wait_for_selector("#people button", timeout=120_000)
    page.fill("#score", "0.05")
    ours = []
    theirs = []
    for photo in photos:
        path = data_root / "data" / "coco-val" / "images" / photo["file_name"]
        poses = estimator(rmpe.read_image(path))
        ours += poses.to_coco(photo["id"])
        page.evaluate("document.getElementById('times').textContent = ''")
        page.set_input_files("#file", str(path))
        until(page, "document.getElementById('times').textContent.includes('nms')")
        theirs += [{**one, "image_id": photo["id"]} for one in json.loads(saved(page, "JSON"))]
    ids = [photo["id"] for photo in photos]
    python = average_precision(annotations, ids, ours)
    browser = average_precision(annotations, ids, theirs)
    record_property("python", python)
    record_property("browser", browser)
    assert python > 20
    assert abs(browser - python) <= 0.5, (browser, python)


def test_the_second_visit_needs_no_network(visit, server):
    page = visit()
    upload(page, PHOTO)
    before = json.loads(saved(page, "JSON"))
    server.shutdown()
    server.server_close()
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    asked = len(server.asked)
    upload(page, PHOTO)
    assert json.loads(saved(page, "JSON")) == before
    assert len(server.asked) == asked


def test_nothing_is_asked_for_once_the_models_are_there(visit, server):
    page = visit()
    page.click("#example")
    page.wait_for_selector("#people button", timeout=120_000)
    asked = len(server.asked)
    upload(page, PHOTO)
    until(page, "document.getElementById('count').textContent.startsWith('2 people')")
    # The browser itself looks, some seconds after a visit, whether the service worker is still new.
    assert [path for path in server.asked[asked:] if path != "/demo/offline.js"] == []


def test_a_model_that_was_changed_is_refused(visit, server, folder, tmp_path):
    other = tmp_path / "site"
    shutil.copytree(folder / "demo", other / "demo")
    broken = other / "demo" / "files" / "pose-lite.onnx.gz"
    shutil.copyfile(other / "demo" / "files" / "detector-person.onnx.gz", broken)
    server.RequestHandlerClass = partial(Counting, directory=str(other))
    page = visit()
    page.set_input_files("#file", str(PHOTO))
    page.wait_for_selector("#alert:not([hidden])", timeout=120_000)
    assert "is not the file that this page expects" in page.inner_text("#alert")
    assert page.locator("#people button").count() == 0


@pytest.mark.parametrize(
    ("width", "scheme"), [(1200, "light"), (320, "light"), (320, "dark"), (820, "dark")]
)
def test_every_width_and_scheme(visit, width, scheme, tmp_path):
    page = visit(width=width, height=700, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    folder = Path(os.environ.get("RMPE_SHOTS", tmp_path))
    page.screenshot(path=folder / f"demo-{width}-{scheme}-empty.png")
    upload(page, PHOTO)
    assert "2 people" in page.inner_text("#count")
    page.screenshot(path=folder / f"demo-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, summary')].filter((e) => e.offsetParent"
        " && e.getBoundingClientRect().height < 20).map((e) => e.outerHTML)"
    )
    assert small == []


def test_everything_by_keys(visit):
    page = visit()

    def tab_to(wanted):
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate(wanted):
                return
        raise AssertionError(f"no way to {wanted} by Tab")

    tab_to("document.activeElement.id === 'example'")
    page.keyboard.press("Enter")
    page.wait_for_selector("#people button", timeout=120_000)
    tab_to("document.activeElement.dataset.joint !== undefined")
    first = page.inner_text("#joint")
    assert ", person " in first
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#joint") != first
    page.keyboard.press("Escape")
    assert "Point at a joint" in page.inner_text("#joint")
    tab_to("document.activeElement.id === 'score'")
    page.keyboard.press("End")
    assert "No people" in page.inner_text("#count")


def test_a_clip(visit, tmp_path):
    from rmpe.media.images import read_image
    from rmpe.media.video_writer import VideoWriter

    image = read_image(PHOTO)
    with VideoWriter(tmp_path / "clip.mp4", fps=5) as writer:
        for number in range(4):
            writer.write(np.roll(image, 4 * number, axis=1), number / 5)
    page = visit()
    page.set_input_files("#file", str(tmp_path / "clip.mp4"))
    page.wait_for_selector("#player:not([hidden])", timeout=200_000)
    frames = json.loads(saved(page, "JSON"))
    assert len(frames) >= 7
    assert all(len(frame["people"]) == 2 for frame in frames)
    assert {person["track_id"] for frame in frames for person in frame["people"]} == {0, 1}
    page.focus("#time")
    page.keyboard.press("End")
    assert page.inner_text("#clock").startswith("0:00.")


def test_what_is_wrong_is_said(visit, tmp_path):
    page = visit()
    (tmp_path / "no.png").write_bytes(b"hello")
    page.set_input_files("#file", str(tmp_path / "no.png"))
    page.wait_for_selector("#alert:not([hidden])")
    assert "no.png is not a picture" in page.inner_text("#alert")


def camera_file(path):
    """Two people, as a camera sees them: frames of raw pixels."""
    import cv2

    from rmpe.media.images import read_image

    image = cv2.resize(read_image(PHOTO), (640, 480))
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes()
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420\n")
        for _ in range(5):
            file.write(b"FRAME\n" + yuv)
    return path


def worker_session(page, session):
    """How to talk to the debugger of the page's worker: (method) -> its answer."""
    found = {}
    answers = {}
    session.on(
        "Target.attachedToTarget",
        lambda event: found.update({event["targetInfo"]["type"]: event["sessionId"]}),
    )

    def hear(event):
        told = json.loads(event["message"])
        answers[told.get("id")] = told.get("result")  # what has no id is news, not an answer

    session.on("Target.receivedMessageFromTarget", hear)
    attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
    session.send("Target.setAutoAttach", attach)

    def send(method):
        number = len(answers) + 10
        message = json.dumps({"id": number, "method": method})
        told = {"sessionId": found["worker"], "message": message}
        session.send("Target.sendMessageToTarget", told)
        while number not in answers:
            page.wait_for_timeout(100)
        return answers[number]

    return send


@long
def test_500_pictures_of_a_camera_do_not_fill_the_memory(driver, server, tmp_path, record_property):
    shots = int(os.environ.get("RMPE_CAMERA_PICTURES", "500"))
    video = camera_file(tmp_path / "camera.y4m")
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={video}"]
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
    page = browser.new_page()
    page.goto(f"{server.url}/demo/index.html")
    page.wait_for_selector("body[data-ready=yes]")

    page.click("#camera")
    page.wait_for_selector("#people button", timeout=120_000)
    session = page.context.new_cdp_session(page)
    worker = worker_session(page, session)

    def heap():
        """Bytes in use after a collection, objects and buffers, of the page and of its worker."""
        total = 0
        for send in (session.send, worker):
            send("HeapProfiler.collectGarbage")
            usage = send("Runtime.getHeapUsage")
            total += usage["usedSize"] + usage["backingStorageSize"]
        return total

    def wait_for(count):
        until(page, f"+document.body.dataset.pictures >= {count}", 800)

    wait_for(20)
    before = heap()
    wait_for(20 + shots)
    after = heap()
    people = page.locator("#people button").count()
    browser.close()
    record_property("before", before)
    record_property("after", after)
    assert people == 2
    assert after <= 1.1 * before, f"{before} bytes after 20 pictures, {after} after {20 + shots}"
