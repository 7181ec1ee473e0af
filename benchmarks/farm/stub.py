"""Workers without models: what is left is the cost of the farm itself."""

import time

from rmpe.farm.parts import IMAGES, PEOPLE, SMALLEST, name_of
from rmpe.farm.storage import open_storage
from rmpe.farm.work import Outcome


class Empty:
    """Commits a shard at once, by a mark that holds nothing."""

    def __init__(self, address):
        self._storage = open_storage(address)

    def shard(self, shard):
        for kind in (PEOPLE, IMAGES):
            self._storage.write(name_of(kind, shard), bytes(SMALLEST))
        return Outcome(shard, 200)


class Sleeping:
    """Takes a second for a shard and no processor, as a worker of another machine does."""

    seconds = 1.0

    def __init__(self, address):
        pass

    def shard(self, shard):
        time.sleep(self.seconds)
        return Outcome(shard, 200)
