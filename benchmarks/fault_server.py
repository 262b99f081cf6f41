"""An inference server that does what each line of its standard input names: a fault, or nothing for right answers."""

import sys
from pathlib import Path

from edgewise.testing.inference_server import InferenceServer


def main(path: str) -> None:
    with InferenceServer(Path(path).read_bytes(), "model") as server:
        server.binary = server.keep = True
        print(server.url, flush=True)
        for line in sys.stdin:
            server.fault = line.strip()
            print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
