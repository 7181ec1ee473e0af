"""Network streams from a local server that disconnects, stalls and returns."""

import io
import itertools
import json
import socket
import threading
import time

import av
import numpy as np
import pytest
from click.testing import CliRunner
from stick_people import people, pose

from rmpe.cli import rmpe as command
from rmpe.errors import ImageError
from rmpe.media import video as module
from rmpe.media.background import Background
from rmpe.media.video import Video
from rmpe.tracking.oks_tracker import OksTracker
from rmpe.video import AHEAD, follow

SIZE = (48, 64)


def picture(level):
    return np.full((*SIZE, 3), level, np.uint8)


def transport_stream(levels, fps=10):
    """MPEG-TS of plain images, each a key frame."""
    data = io.BytesIO()
    with av.open(data, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = (
            SIZE[1],
            SIZE[0],
            "yuv420p",
            1,
        )
        for level in levels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(level), format="rgb24")))
        container.mux(stream.encode(None))
    return data.getvalue()


class Server:
    """Answers the n-th connection with the n-th step: bytes and how long to stay silent afterwards;
    None = refused.

    The answers are HTTP without a length, so nobody can know when the stream ends. After the last
    step it is gone.
    """

    def __init__(self, *steps):
        self.steps, self.served = steps, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/live.ts"
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.socket.close()
        self.thread.join(timeout=10)
        assert not self.thread.is_alive()

    def _serve(self):
        for number, step in enumerate(self.steps):
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return  # closed, or nobody came
            with connection:
                self.served.append(number)
                if step is not None:
                    connection.recv(4096)
                    self._answer(connection, *step)
        self.socket.close()

    def _answer(self, connection, data, silence):
        try:
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n" + data
            )
        except OSError:
            return  # the other side has seen enough
        self.over.wait(silence)


class Hurry(threading.Event):
    """Waits a hundredth of the time and remembers it."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return super().wait(timeout / 100)


def opened(server):
    video = Video(server.url)
    video._stopped = Hurry()
    return video


def levels(frames):
    return [round(float(frame.image.mean()) / 10) * 10 for frame in frames]


def test_a_stream_that_breaks_off_is_opened_again():
    first, second = transport_stream(range(50, 130, 10)), transport_stream(range(150, 230, 10))
    with Server((first, 0), None, None, (second, 0)) as server, opened(server) as video:
        assert video.live and video.total == 0
        frames = list(itertools.islice(video, 12))
    seen = levels(frames)
    again = seen.index(150)
    assert seen[:again] in (list(range(50, 120, 10)), list(range(50, 130, 10))), (
        "all but perhaps the last"
    )
    assert seen[again:] == [150 + 10 * number for number in range(12 - again)]
    assert [frame.index for frame in frames] == list(range(12))
    assert video.corrupt == 0
    assert np.all(np.diff([frame.seconds for frame in frames]) > 0)
    assert video._stopped.waits == [1.0, 2.0, 4.0], "waits longer after every try that failed"
    assert video.reconnects == 3
    assert server.served == [0, 1, 2, 3]


def test_a_stream_that_works_again_is_waited_for_anew():
    data = transport_stream([50] * 8)
    with Server((data, 0), None, (data, 0), (data, 0)) as server, opened(server) as video:
        assert len(list(itertools.islice(video, 20))) == 20
    assert video._stopped.waits == [1.0, 2.0, 1.0]


def test_a_silent_stream_counts_as_broken(monkeypatch):
    monkeypatch.setattr(module, "SILENCE", 0.4)
    with (
        Server((transport_stream([50] * 60), 0.8), (transport_stream([150] * 8), 0)) as server,
        opened(server) as video,
    ):
        started = time.monotonic()
        seen = levels(itertools.islice(video, 64))
        assert time.monotonic() - started < 4
    assert {*seen} == {50, 150}
    assert video.reconnects == 1


def test_a_stream_that_stays_away_is_given_up_in_one_line(monkeypatch):
    monkeypatch.setattr(module, "RECONNECT", (1.0, 2.0))
    gone = pytest.raises(ImageError, match=r"the stream is gone .*gave up after 2 tries")
    with Server((transport_stream([50] * 8), 0)) as server, opened(server) as video, gone as caught:
        list(video)
    assert "\n" not in str(caught.value)
    assert video.reconnects == 2


def test_whoever_is_slow_gets_the_newest_frames():
    """Forty frames at once into a buffer of three: the oldest are dropped and counted."""
    with Server((transport_stream(range(40, 200, 4)), 0)) as server, Video(server.url) as video:
        frames = Background(video, AHEAD, newest_only=True, on_close=video.stop)
        deadline = time.monotonic() + 5
        while frames.dropped < 30 and time.monotonic() < deadline:
            time.sleep(0.01)
        taken = list(itertools.islice(frames, 2))
        frames.close()
    assert frames.dropped >= 30
    assert taken[0].index >= 30
    assert taken[1].index == taken[0].index + 1


def test_a_stream_is_tracked_through_its_interruption():
    class One:
        def detector(self, image):
            return None

        def estimate(self, image, boxes):
            return people(pose((24, 24), 40))

    data = transport_stream([50] * 8)
    with Server((data, 0), None, (data, 0)) as server, opened(server) as video:
        frames = follow(One(), video, OksTracker())
        found = []
        for frame, poses in frames:
            found.append(tuple(poses.track_ids))
            if video.reconnects == 2 and frame.index > 8:
                break
        frames.close()
    assert {*found} == {(0,)}


def test_a_stream_that_is_away_is_not_waited_for_after_stop():
    with Server((transport_stream([50] * 8), 0)) as server, Video(server.url) as video:
        started = time.monotonic()
        threading.Timer(0.3, video.stop).start()
        assert 7 <= len(list(video)) <= 8
        assert time.monotonic() - started < 0.9, "it waits a second before the first try"


def test_nobody_there_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ImageError, match="cannot open this stream") as caught:
        Video(f"http://127.0.0.1:{port}/live.ts")
    assert "\n" not in str(caught.value)


def test_the_command_says_what_a_stream_went_through(tmp_path, monkeypatch):
    from tiny_models import PEOPLE, spot_pose_model, yolox_model

    monkeypatch.setattr(module, "RECONNECT", (0.01, 0.02, 0.04))
    models = [
        "--detector",
        str(yolox_model(tmp_path, PEOPLE)),
        "--pose",
        str(spot_pose_model(tmp_path)),
    ]
    data = transport_stream([50] * 8)
    with Server((data, 0), None, (data, 0)) as server:
        arguments = ["track", server.url, *models, "--out", str(tmp_path / "out"), "--json"]
        result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    summary = json.loads(result.stdout)
    assert summary["stopped"] and "gone" in summary["lost"]
    assert summary["reconnects"] == 5  # two until it was back, three in vain
    lines = (tmp_path / "out" / "tracks.jsonl").read_text().splitlines()[1:]
    assert summary["frames"] == len(lines)
    assert summary["frames"] + summary["dropped"] == json.loads(lines[-1])["image_id"] + 1
    assert (tmp_path / "out" / "coco.json").exists() and (tmp_path / "out" / "drawn.mp4").exists()
