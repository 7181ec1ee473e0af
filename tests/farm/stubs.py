"""Workers without models, and workers that die, for the tests of the farm."""

import os
import signal
import time
from pathlib import Path

from rmpe.errors import StorageError
from rmpe.farm.manifest import read_run, read_shard
from rmpe.farm.parts import Row, write_part
from rmpe.farm.storage import open_storage
from rmpe.farm.work import Outcome, Worker
from rmpe.poses import Poses


class Stub:
    """Commits a shard with nobody in it; as fast as a worker can be."""

    wait = 0.0

    def __init__(self, address):
        self._storage = open_storage(address)
        self._run = read_run(self._storage)

    def shard(self, shard):
        time.sleep(self.wait)
        empty = Poses.empty(self._run.skeleton)
        items = read_shard(self._storage.address, shard)
        rows = [
            Row(item.image_id, item.file, item.name, item.path, (1, 1), empty) for item in items
        ]
        part = write_part(self._storage, self._run, shard, rows)
        return Outcome(shard, part.photos)


class SlowStub(Stub):
    wait = 0.2


class Deadly(Worker):
    """A photo whose name has ``bomb`` in it kills the process, as a crash of an engine does."""

    def _chunk(self, items, reading):
        if any("bomb" in item.file for item in items):
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._chunk(items, reading)


class DeadlyOnce(Worker):
    """The first worker of all dies of its first shard."""

    def _chunk(self, items, reading):
        mark = Path(os.environ["RMPE_TEST_MARK"])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._chunk(items, reading)


class NeverStarts:
    def __init__(self, address):
        os._exit(3)


class Faulty(Stub):
    """A storage that does not answer for shard 1."""

    def shard(self, shard):
        if shard == 1:
            raise StorageError("s3://x/y: 503 (tried 5 times)")
        return super().shard(shard)
