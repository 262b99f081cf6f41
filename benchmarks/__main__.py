"""Run benchmarks by name, or all of them."""

import argparse
import sys

from benchmarks import compression, install, models, node, overhead, routing, startup, training, training_accuracy

BENCHMARKS = {
    "overhead": overhead.run,
    "startup": startup.run,
    "install": install.run,
    "models": models.run,
    "training": training.run,
    "accuracy": training_accuracy.run,
    "compression": compression.run,
    "node": node.run,
    "faults": node.run_faults,
    "routing": routing.run,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    # Not ``choices``: argparse holds the empty list against them, too.
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)} (default: all)")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        print(f"\n# {name}", flush=True)
        print(BENCHMARKS[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
