"""`python -m edgewise.testing.serve_model MODEL.onnx`: an ONNX file behind the Open Inference Protocol, on loopback.

It prints the model's address, and serves it until its standard input ends. A line there names what it does from here on in place
of right answers, as ``faults.FAULTS`` has it (an empty one: nothing), and is answered by a line.
"""

import sys
from pathlib import Path

from edgewise.testing.inference_server import InferenceServer

__all__: list[str] = []


def main(path: Path) -> None:
    with InferenceServer(path.read_bytes(), path.stem) as server:
        server.binary = server.keep = True
        _say(server.model_url)
        for line in sys.stdin:
            server.fault = line.strip()
            _say("done")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
