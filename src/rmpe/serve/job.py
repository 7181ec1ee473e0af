"""One video of the service: what is wanted, how far it is, and where its files are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from rmpe.write import PLACES

State: TypeAlias = Literal["queued", "running", "done", "failed"]
# Result format -> file in ``out/`` and media type.
RESULTS = {
    "json": ("frames.json", "application/json"),
    "coco": (PLACES["coco"], "application/json"),
    "csv": (PLACES["csv"], "text/csv; charset=utf-8"),
    "posetrack": (PLACES["posetrack"], "application/json"),
    "mot": (PLACES["mot"], "text/plain; charset=utf-8"),
    "trc": ("trc.zip", "application/zip"),
    "mp4": ("drawn.mp4", "video/mp4"),
}


@dataclass(frozen=True)
class Wish:
    """What a job is to do.

    Attributes:
        tracker: ``poseflow``, ``oks`` or ``none``.
        detect_every: Run the detector on every so many frames; 0 = when the poses say so.
        smooth: Whether to take the jitter out of the joints.
        draw: Whether to write the drawn video.
    """

    tracker: str = "poseflow"
    detect_every: int = 1
    smooth: bool = False
    draw: bool = True


@dataclass
class Job:
    """One video.

    Attributes:
        id: Its name, which cannot be guessed.
        folder: Where its files are.
        wish: What to do.
        created: When it was uploaded, in seconds since 1970.
        state: How far it is.
        error: Why it failed, in one line.
        finished: When it ended, in seconds since 1970.
        frames: Frames that are done.
        total: Frames that the file declares; 0 = unknown.
        rate: Frames a second.
        people: Ids that were seen, once it is done.
    """

    id: str
    folder: Path
    wish: Wish
    created: float
    state: State = "queued"
    error: str = ""
    finished: float = 0.0
    frames: int = 0
    total: int = 0
    rate: float = 0.0
    people: int = 0
    deleted: bool = field(default=False)

    @property
    def source(self) -> Path:
        """The uploaded file."""
        return self.folder / "source.video"

    @property
    def out(self) -> Path:
        """Where its results are."""
        return self.folder / "out"
