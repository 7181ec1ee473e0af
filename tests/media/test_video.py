import os
import struct
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from rmpe.errors import ImageError, RmpeError
from rmpe.media.background import Background
from rmpe.media.video import Video, upright
from rmpe.media.video_writer import VideoWriter


def picture(value, size=(48, 64)):
    """An image whose grey level encodes its index; bright at the top left, to detect rotations."""
    image = np.full((*size, 3), value, np.uint8)
    image[: size[0] // 4, : size[1] // 4] = 255
    return image


def write(path, times, **options):
    with VideoWriter(path, **options) as writer:
        for number, seconds in enumerate(times):
            writer.write(picture(40 + 10 * number, options.pop("size", (48, 64))), seconds)
    return path


def tone(path, seconds=2.0, codec="aac", fmt="mp4", title="a tone"):
    """A file with a picture track and a sound track."""
    with av.open(str(path), "w", format=fmt) as container:
        container.metadata["title"] = title
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=48000, layout="mono")
        for number in range(int(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(picture(100), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        wave = (np.sin(np.arange(int(seconds * 48000)) * 0.05) * 8000).astype(np.int16)
        for start in range(0, len(wave) - 1023, 1024):
            block = av.AudioFrame.from_ndarray(
                wave[None, start : start + 1024], format="s16", layout="mono"
            )
            block.sample_rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
            container.mux(audio.encode(block))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def test_frames_and_irregular_times_come_back(tmp_path):
    times = [0.0, 0.1, 0.15, 0.5, 0.52, 1.3]
    with Video(write(tmp_path / "v.mp4", times, fps=10)) as video:
        frames = list(video)
    assert [frame.index for frame in frames] == list(range(6))
    assert np.allclose([frame.seconds for frame in frames], times, atol=1e-4)
    assert np.allclose(
        [frame.image[30, 40].mean() for frame in frames], 40 + 10 * np.arange(6), atol=3
    )
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8


@pytest.mark.parametrize(
    ("size", "stored"), [((47, 63), (48, 64)), ((48, 63), (48, 64)), ((2, 2), (2, 2))]
)
def test_odd_sizes_become_even_and_browsers_can_play_it(tmp_path, size, stored):
    path = tmp_path / "v.mp4"
    with VideoWriter(path) as writer:
        for number in range(3):
            writer.write(picture(100, size), number / 25)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == stored
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")  # the index comes first


@pytest.mark.parametrize(
    ("size", "inside"),
    [
        ((48, 64), (0, 0, 64, 48)),
        ((96, 128), (0, 0, 64, 48)),
        ((96, 64), (16, 0, 48, 48)),
        ((7, 28), (0, 15, 64, 33)),
    ],
)
def test_a_frame_of_another_size_is_fitted_with_black_bars(tmp_path, size, inside):
    with VideoWriter(tmp_path / "v.mp4", crf=5) as writer:
        writer.write(np.full((47, 64, 3), 100, np.uint8), 0.0)
        writer.write(np.full((*size, 3), 200, np.uint8), 0.1)
    with Video(tmp_path / "v.mp4") as video:
        first, second = (frame.image.mean(axis=2) for frame in video)
    assert first.shape == second.shape == (48, 64)
    x1, y1, x2, y2 = inside
    expected = np.zeros((48, 64))
    expected[y1:y2, x1:x2] = 200
    assert np.abs(second - expected).mean() < 4


def test_colours_survive(tmp_path):
    colors = np.array([(220, 30, 30), (30, 200, 30), (30, 30, 220), (128, 128, 128)], np.uint8)
    image = np.repeat(np.repeat(colors.reshape(2, 2, 3), 40, 0), 40, 1)
    with VideoWriter(tmp_path / "v.mp4", crf=5) as writer:
        writer.write(image, 0)
    with Video(tmp_path / "v.mp4") as video:
        (frame,) = video
    assert np.abs(frame.image[20::40, 20::40].astype(int) - colors.reshape(2, 2, 3)).max() < 12


def test_nothing_written_leaves_no_file(tmp_path):
    with VideoWriter(tmp_path / "v.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_its_name_only_when_it_is_whole(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4")
    writer.write(picture(1), 0)
    assert not (tmp_path / "v.mp4").exists()
    writer.close()
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize(
    ("codec", "fmt", "kept"),
    [("aac", "mp4", "aac"), ("pcm_s16le", "mov", "aac"), ("mp3", "mov", "mp3")],
)
def test_sound_goes_along(tmp_path, codec, fmt, kept):
    source = tone(tmp_path / f"in.{fmt}", codec=codec, fmt=fmt)
    with (
        Video(source) as video,
        VideoWriter(tmp_path / "v.mp4", fps=10, audio_from=source) as writer,
    ):
        for frame in video:
            writer.write(frame.image, frame.seconds)
    with av.open(str(tmp_path / "v.mp4")) as container:
        audio = container.streams.audio[0]
        assert audio.codec_context.name.removesuffix("float") == kept
        samples = sum(frame.samples for frame in container.decode(audio))
    assert samples / 48000 == pytest.approx(2.0, abs=0.1)


def test_a_silent_source_gives_a_silent_file(tmp_path):
    source = write(tmp_path / "in.mp4", [0, 0.1])
    write(tmp_path / "v.mp4", [0, 0.1], audio_from=source)
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert not container.streams.audio


def test_damaged_packets_cost_their_own_frames_only(tmp_path):
    path = tmp_path / "v.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in (places[3], places[7]):
        data[at + 4 : at + size] = bytes(size - 4)
    path.write_bytes(data)
    with Video(path) as video:
        frames = list(video)
        assert video.corrupt == 2
        assert video.missing == 2
    assert [frame.index for frame in frames] == [0, 1, 2, 4, 5, 6, 8, 9]
    assert np.allclose([frame.seconds for frame in frames], [0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 0.9])


def test_a_truncated_file_gives_what_is_left(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(40):
            image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Video(path) as video:
        assert 5 < len(list(video)) < 40


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_metadata_is_honoured(tmp_path, degrees):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write rotation metadata")
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(40), format="rgb24")))
        container.mux(stream.encode(None))
    with Video(path) as video:
        (frame,) = video
    expected = np.rot90(picture(40), degrees // 90)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 8


def test_upright_turns_nothing_without_metadata():
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    assert np.array_equal(upright(av.VideoFrame.from_ndarray(image, format="rgb24")), image)


def test_a_folder_of_images_is_a_video(tmp_path):
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), picture(50 * number))
    (tmp_path / "002.png").write_bytes(b"broken")
    with Video(tmp_path, fps=10) as video:
        frames = list(video)
        assert (video.total, video.corrupt, video.live) == (4, 1, False)
    assert np.allclose([frame.seconds for frame in frames], [0, 0.1, 0.3])
    assert [frame.index for frame in frames] == [0, 1, 3]
    assert [frame.item.file_name for frame in frames] == ["000.png", "001.png", "003.png"]
    assert [int(frame.image[-1, -1, 0]) for frame in frames] == [0, 50, 150]


@pytest.mark.parametrize("changes", [0, 2])
def test_frames_of_another_size_are_said_once(caplog, changes):
    pictures = [np.zeros((40, 60, 3), np.uint8)] + [np.zeros((30, 60, 3), np.uint8)] * changes
    with Video(pictures) as video:
        assert [frame.image.shape[0] for frame in video] == [40] + [30] * changes
    assert caplog.text.count("frame 1 has 60 x 30 pixels, the first 60 x 40") == min(changes, 1)


def test_a_tag_that_is_not_utf8_does_not_hide_the_video(tmp_path):
    path = tone(tmp_path / "v.mp4", seconds=0.5, title="MARK")
    data = path.read_bytes()
    assert data.count(b"MARK") == 1
    path.write_bytes(data.replace(b"MARK", "Élan".encode("latin-1")))
    with Video(path) as video:
        assert len(list(video)) == 5
    write(tmp_path / "with_sound.mp4", [0.0, 0.2], audio_from=path)
    with av.open(str(tmp_path / "with_sound.mp4")) as container:
        assert len(container.streams.audio) == 1


@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 50])
def test_what_is_no_video_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"v\.mp4.*cannot open") as caught:
        Video(path)
    assert "\n" not in str(caught.value)


def test_a_sound_file_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ImageError, match="no video"):
        Video(tmp_path / "a.wav")


def test_a_missing_camera_is_a_user_error():
    with pytest.raises(RmpeError, match="camera"):
        Video("97", camera=True)


def test_background_keeps_order_and_length():
    assert list(Background(range(100), depth=3)) == list(range(100))
    assert list(Background([], depth=1)) == []


def test_background_raises_where_items_are_taken():
    def broken():
        yield 1
        raise ImageError("gone")

    items = iter(Background(broken()))
    assert next(items) == 1
    with pytest.raises(ImageError, match="gone"):
        next(items)


def test_background_is_bounded_and_stops_early():
    made = []
    closed = []

    def source():
        try:
            for number in range(10**9):
                made.append(number)
                yield number
        finally:
            closed.append(True)

    background = Background(source(), depth=2)
    time.sleep(0.3)
    assert len(made) <= 4
    for item in background:
        if item == 5:
            break
    background.close()
    assert closed == [True]
    assert len(made) < 20


def test_background_drops_the_oldest_of_a_live_source():
    background = Background(range(50), depth=2, newest_only=True)
    time.sleep(0.3)
    assert list(background)[-1] == 49
    assert background.dropped > 0


def test_a_clip_with_damaged_frames_keeps_their_numbers(data_root):
    """10 frames a second, 20 frames, of which 5 to 10 are damaged in one way or another."""
    with Video(data_root / "cases/video_damaged_numbering/damaged.mp4") as video:
        frames = list(video)
        assert video.fps == 10
        assert video.missing == video.corrupt == 6
    assert [frame.index for frame in frames] == [*range(5), *range(11, 20)]
    for frame in frames:
        assert frame.seconds == pytest.approx(frame.index / 10, abs=1e-3)


def damaged_clip(path, lost, count=12, **options):
    """A clip of key frames, one frame in ten seconds; the packets of ``lost`` hold zeros."""
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "1"} | options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(count):
            image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in lost:
        at, size = places[number]
        data[at + 4 : at + size] = bytes(size - 4)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("lost", [[], [0], [0, 1, 2], [5], [3, 4, 5], [11], [1, 3, 5, 7]])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_numbers_whatever_the_container(tmp_path, lost, suffix):
    with Video(damaged_clip(tmp_path / f"v{suffix}", lost)) as video:
        frames = list(video)
    whole = [number for number in range(12) if number not in lost]
    assert [frame.index for frame in frames] == whole
    assert [frame.seconds for frame in frames] == pytest.approx(
        [number / 10 for number in whole], abs=2e-3
    )


MATRICES = {
    "plain": ((1, 0, 0, 1), lambda image: image),
    "90": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "180": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "270": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    "transversed": ((0, -1, -1, 0), lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
    "scaled": ((2, 0, 0, 2), lambda image: image),
    "zero": ((0, 0, 0, 0), lambda image: image),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_whole_display_matrix_is_honoured(tmp_path, name):
    """Written into the track header's box, as cameras do."""
    (a, b, c, d), show = MATRICES[name]
    path = tmp_path / "v.mp4"
    with VideoWriter(path, crf=1) as writer:
        writer.write(picture(40), 0)
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 4 + 40  # version 0: the matrix lies 40 bytes into the box
    unit = 1 << 16
    matrix = [a * unit, b * unit, 0, c * unit, d * unit, 0, 0, 0, 1 << 30]
    assert struct.unpack(">9i", data[place : place + 36]) == (unit, 0, 0, 0, unit, 0, 0, 0, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    with Video(path) as video:
        (frame,) = video
    expected = show(picture(40))
    assert frame.image.flags.c_contiguous
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 4


def test_mirrored_clips_of_the_cases(data_root):
    folder = data_root / "cases/video_mirror_matrix"

    def first(name):
        with Video(folder / f"{name}.mp4") as video:
            return next(iter(video)).image.astype(int)

    plain = first("plain")
    for name, right in (
        ("hflip", plain[:, ::-1]),
        ("vflip", plain[::-1]),
        ("rot90_hflip", np.rot90(plain, 2).transpose(1, 0, 2)),
    ):
        assert first(name).shape == right.shape
        assert abs(first(name) - right).mean() < 3


@pytest.mark.parametrize("moving", [False, True])
def test_cover_art_is_not_a_video(tmp_path, moving):
    path = tmp_path / "song.mp4"
    cover = cv2.imencode(".png", picture(200, (30, 30)))[1].tobytes()
    with av.open(str(path), "w") as container:
        art = container.add_stream("png", rate=1)
        art.width, art.height, art.pix_fmt = 30, 30, "rgb24"
        art.disposition = 0x400
        sound = container.add_stream("aac", rate=48000, layout="mono")
        video = container.add_stream("mpeg4", rate=10) if moving else None
        if video:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        packet = av.Packet(cover)
        packet.stream = art
        packet.pts = packet.dts = 0
        container.start_encoding()
        container.mux(packet)
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        if video:
            for number in range(3):
                frame = av.VideoFrame.from_ndarray(picture(100), format="rgb24")
                frame.pts = number
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        container.mux(sound.encode(None))
    if moving:
        with Video(path) as found:
            assert [frame.image.shape for frame in found] == [(48, 64, 3)] * 3
        write(tmp_path / "with_sound.mp4", [0.0, 0.1], audio_from=path)
    else:
        with pytest.raises(ImageError, match="only a cover picture"):
            Video(path)


NAMES = {
    "numbers": ["frame1", "frame2", "frame10", "frame11"],
    "padded": ["f001", "f002", "f010", "f100"],
    "two numbers": ["cam1_2", "cam1_10", "cam2_1", "cam10_1"],
    "no numbers": ["a", "b", "c"],
    "some numbers": ["1", "2", "10", "a"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_frames_of_a_folder_come_as_people_count(tmp_path, kind):
    names = NAMES[kind]
    for number, name in enumerate(names):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((8, 8, 3), number, np.uint8))
    for source in (tmp_path, f"{tmp_path}/*.png"):
        with Video(source) as video:
            frames = list(video)
        assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(len(names)))
        assert [frame.item.name for frame in frames] == names
        assert [frame.index for frame in frames] == list(range(len(names)))


def test_images_in_memory_are_a_video(tmp_path):
    assert list(Video([])) == []
    cv2.imwrite(str(tmp_path / "a.png"), picture(90))
    given = [picture(50), picture(70) / 255, tmp_path / "a.png"]
    for source in (given, iter(given)):
        with Video(source, fps=10) as video:
            frames = list(video)
            assert (video.fps, video.live) == (10, False)
        assert [int(frame.image[-1, -1, 0]) for frame in frames] == [50, 70, 90]
        assert np.allclose([frame.seconds for frame in frames], [0, 0.1, 0.2])
    with pytest.raises(ImageError, match=r"image 1 of the list: .*this is None"):
        list(Video([picture(1), None]))
    (frame,) = Video([np.dstack([picture(9)[..., :2], picture(99)[..., :1]])], color="bgr")
    assert frame.image[-1, -1].tolist() == [99, 9, 9]


def test_a_transport_stream_that_names_an_unknown_track(data_root):
    """Its frames are read or counted as damaged; PyAV's IndexError is not ours to show."""
    with Video(data_root / "cases/fuzz/video_01/h.ts") as video:
        frames = list(video)
        assert video.corrupt > 0
    assert len(frames) > 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_or_device_is_no_video(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", "/dev/zero"):
        with pytest.raises(ImageError, match="not a regular file"):
            Video(path)
