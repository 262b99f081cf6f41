"""A search that is killed at random instants and goes on, again and again: `FOLDER KILLS SEED`. Prints what was found.

Everything is imported once; each search runs in a fork of this process, which has opened no model yet.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.compress.search.stand_ins import make_search, settings

LONGEST = 0.7  # seconds until a kill: about as long as the whole search takes


def child(folder: Path) -> None:
    search, _ = make_search(folder, settings(tuned=True))
    found = search.run()
    (folder / "found.json").write_text(json.dumps([[row.to_json() for row in found.rows], dict(found.chosen)]))


def started(folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child(folder)
            code = 0
        finally:
            os._exit(code)
    return pid


def finished(folder: Path) -> str:
    _, status = os.waitpid(started(folder), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return (folder / "found.json").read_text()


def main(folder: Path, kills: int, seed: int) -> None:
    chance, killed = random.Random(seed), 0
    results = [finished(folder.with_name("undisturbed"))]
    attempts = 0
    while killed < kills:
        pid = started(folder)
        time.sleep(chance.uniform(0, LONGEST))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        assert os.waitstatus_to_exitcode(status) == 0
        results.append((folder / "found.json").read_text())
        shutil.rmtree(folder)
        attempts += 1
        assert attempts < 10 * kills, "the search ends before it is killed"
    results.append(finished(folder))
    sys.stdout.write(json.dumps({"killed": killed, "results": sorted(set(results))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
