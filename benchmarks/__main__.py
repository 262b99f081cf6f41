"""Run benchmarks by name, or all of them."""

import sys

from benchmarks import install, models, overhead, startup

BENCHMARKS = {"overhead": overhead.run, "startup": startup.run, "install": install.run, "models": models.run}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        print(f"\n# {name}", flush=True)
        print(BENCHMARKS[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
