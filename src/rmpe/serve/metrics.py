"""Figures of a running server, as Prometheus reads them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All figures of one server; one object a server, so that several live in one process."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter("rmpe_requests", "Answers.", ["route", "status"], registry=registry)
        self.rejected = Counter(
            "rmpe_rejected", "Requests refused before any work.", ["reason"], registry=registry
        )
        self.people = Counter("rmpe_people", "People found in photos.", registry=registry)
        self.depth = Gauge("rmpe_queue_depth", "Photos that wait.", registry=registry)
        self.videos = Gauge("rmpe_videos", "Videos by state.", ["state"], registry=registry)
        self.wait = Histogram(
            "rmpe_queue_wait_seconds",
            "Seconds a photo waited for a worker.",
            buckets=SECONDS,
            registry=registry,
        )
        self.stage = Histogram(
            "rmpe_stage_seconds",
            "Seconds of a stage for one photo.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "rmpe_batch_images",
            "Photos in one call of the models.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )

    def begun(self, count: int, waits: list[float]) -> None:
        """A call of the models begins, with ``count`` photos that waited so many seconds each."""
        self.batch.observe(count)
        for seconds in waits:
            self.wait.observe(seconds)

    def found(self, people: int, seconds: dict[str, float]) -> None:
        """A photo was answered."""
        self.people.inc(people)
        for stage, value in seconds.items():
            self.stage.labels(stage).observe(value)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
