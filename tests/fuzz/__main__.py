"""The command: ``python -m tests.fuzz GROUP... --count N``; prints a JSON line for each kind."""

import argparse
import sys
from pathlib import Path

from .driver import GROUPS, OUTCOMES, ROOT, run, work

for _path in (ROOT / "tests", ROOT / "src"):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))


def main() -> int:
    """Fuzz, and return 1 if anything but reading and refusing came of it."""
    if sys.argv[1:2] == ["--worker"]:
        group, start, end, seed, scratch = sys.argv[2:]
        work(group, int(start), int(end), int(seed), Path(scratch))
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("groups", nargs="+", choices=list(GROUPS))
    parser.add_argument("--count", type=int, default=1000, help="tries of each group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that mean a hang")
    parser.add_argument("--keep", type=Path, help="folder for the inputs of faults")
    options = parser.parse_args()
    faults = 0
    for group in options.groups:
        counts = run(group, options.count, options.seed, options.limit, options.keep)
        for name, count in counts.items():
            sys.stdout.write(count.as_line(group, name, options.seed) + "\n")
            sys.stdout.flush()
            for fault, number in count.faults.items():
                sys.stderr.write(f"  {name}, try {number}: {fault}\n")
            faults += sum(count.outcomes[outcome] for outcome in OUTCOMES[2:])
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
