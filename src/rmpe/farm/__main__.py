"""``python -m rmpe.farm``: the process of a worker, see `rmpe.farm.child`."""

import sys

from rmpe.farm.child import main

main(*sys.argv[1:])
