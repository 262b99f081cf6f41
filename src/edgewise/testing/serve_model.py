"""`python -m edgewise.testing.serve_model MODEL.onnx`: an ONNX file behind the Open Inference Protocol, on loopback.

It prints the model's address, and serves it until its standard input ends.
"""

import sys
from pathlib import Path

from edgewise.testing.inference_server import InferenceServer

__all__: list[str] = []


def main(path: Path) -> None:
    with InferenceServer(path.read_bytes(), path.stem) as server:
        server.binary = server.keep = True
        sys.stdout.write(f"{server.model_url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
