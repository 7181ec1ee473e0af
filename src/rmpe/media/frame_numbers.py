"""Which frame of a video is which: the numbers of frames whose neighbours were damaged."""

import heapq

import av


class FrameNumbers:
    """Numbers the frames of a video from 0 as a player without damage would.

    The packets of a file name the times of its frames. Where a frame was damaged, the packets
    between the frame before and the frame after it say how many frames are gone. Elsewhere packets
    without a frame mean nothing: some formats store pictures that are never shown.
    """

    # Most packets remembered; a decoder holds back a few dozen frames at most.
    LONGEST = 1000

    def __init__(self) -> None:
        self._next = 0
        self._expected: list[int] = []  # heap of the times of packets whose frames have not come
        self._damaged = False
        self._untimed = 0  # lost frames whose packets have no times

    def restart(self) -> None:
        """The times begin anew: a stream was opened again."""
        self._expected.clear()

    def expect(self, packet: "av.Packet[av.VideoStream]") -> None:
        """A packet goes into the decoder."""
        if packet.pts is not None and packet.size:
            heapq.heappush(self._expected, packet.pts)
            if len(self._expected) > self.LONGEST:
                heapq.heappop(self._expected)

    def lose(self) -> None:
        """A packet gave an error in place of a frame."""
        self._damaged = True
        self._untimed += 1

    def number(self, frame: av.VideoFrame, *, whole: bool = True) -> int:
        """The number of the next frame that comes out of the decoder, be it whole or damaged."""
        gone = 0
        self._damaged = self._damaged or not whole
        if frame.pts is None or not self._expected:
            gone = self._untimed
        while self._expected and frame.pts is not None and self._expected[0] <= frame.pts:
            gone += heapq.heappop(self._expected) < frame.pts
        number = self._next + (gone if self._damaged else 0)
        self._next = number + 1
        self._damaged = self._damaged and not whole
        self._untimed = 0
        return number
