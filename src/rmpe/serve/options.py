"""What a server allows: where it listens, who may call, how much at once, how large."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from rmpe.errors import UsageError

MIN_TOKEN = 16
# Simultaneous requests of one caller where strangers may call.
PER_CLIENT = 4


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The limits and doors of a server.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 = any free one.
        tokens: Callers must send one of these; empty = everybody may call.
        auth: Whether another host than this one needs a token.
        hosts: Names besides this machine's own that a request may be addressed to.
        workers: Photos that are computed side by side.
        queue: Photos that may wait for a worker; 0 = eight a worker.
        per_client: Photos of one token or address at once; 0 = `PER_CLIENT` on a network, no limit
            of its own on the loopback.
        timeout: Seconds from the arrival of a request within which its work must begin, and within
            which its body must be there.
        max_upload: Most bytes of a photo.
        max_pixels: Most pixels of a photo or of a frame of a video.
        max_video: Most bytes of a video.
        max_frames: Most frames of a video.
        video_queue: Videos that may wait.
        video_seconds: Most seconds of work on one video.
        jobs: Folder of the videos and their results.
        jobs_bytes: Most bytes in that folder.
        keep: Seconds until a finished video and its results are deleted.
        batch_images: Most photos in one call of the models; more than one only pays on a GPU.
        batch_wait: Seconds that a photo waits for others to share its call.
        certfile: Certificate for HTTPS.
        keyfile: Its key.
    """

    jobs: Path
    host: str = "127.0.0.1"
    port: int = 8000
    tokens: tuple[str, ...] = ()
    auth: bool = True
    hosts: tuple[str, ...] = ()
    workers: int = 1
    queue: int = 0
    per_client: int = 0
    timeout: float = 30.0
    max_upload: int = 20_000_000
    max_pixels: int = 50_000_000
    max_video: int = 500_000_000
    max_frames: int = 100_000
    video_queue: int = 8
    video_seconds: float = 4 * 3600.0
    jobs_bytes: int = 4_000_000_000
    keep: float = 3600.0
    batch_images: int = 1
    batch_wait: float = 0.005
    certfile: Path | None = None
    keyfile: Path | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "max_upload", "max_pixels", "max_video", "batch_images"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.timeout <= 0:
            raise UsageError(f"timeout = {self.timeout} must be above 0 seconds")
        if not self.is_loopback and not self.tokens and self.auth:
            raise UsageError(
                f"{self.host} is open to other machines: pass --token-file FILE, or --no-auth if"
                " everybody who reaches this machine may use it"
            )
        if (self.certfile is None) != (self.keyfile is None):
            raise UsageError("--certfile and --keyfile belong together")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def places(self) -> int:
        """How many photos may wait."""
        return self.queue or 8 * self.workers

    @property
    def most_of_a_client(self) -> int:
        """How many photos one caller may have here at once."""
        everything = self.places + self.workers
        return self.per_client or (everything if self.is_loopback else PER_CLIENT)


def read_tokens(path: Path) -> tuple[str, ...]:
    """The tokens of a file, one a line; empty lines and lines that begin with ``#`` do not count.

    Raises:
        UsageError: If the file cannot be read, holds none, or one that is easily guessed.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the tokens: {error}") from error
    tokens = tuple(text for line in lines if (text := line.strip()) and not text.startswith("#"))
    if not tokens or any(len(token) < MIN_TOKEN or not token.isascii() for token in tokens):
        raise UsageError(
            f"{path}: needs one token a line, each of at least {MIN_TOKEN} ASCII characters; make"
            " one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return tokens
