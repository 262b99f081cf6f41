"""A real OCI registry on loopback, for as long as a test needs it: Debian's and Ubuntu's docker-registry, its data in a folder.

with Registry(tmp_path) as registry:
    ...registry.host...      # "127.0.0.1:40123"
"""

import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from edgewise.errors import NotFoundError, TransitError

__all__ = ["Registry"]

_STARTED_WITHIN = 20.0  # seconds; it takes a tenth of that on a small machine
_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: "{folder}"}}
  delete: {{enabled: true}}
http: {{addr: "{host}"}}
"""


class Registry:
    """A context manager around one docker-registry process. It speaks plain HTTP, without accounts, to this machine only."""

    #: The program, where it is installed.
    program: str | None = shutil.which("docker-registry")

    def __init__(self, folder: Path) -> None:
        """``folder``: an existing one for its data, configuration and log."""
        self.folder = folder
        self.host = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Registry":
        """Start it and wait until it answers. Raises NotFoundError where it is not installed, TransitError where it ends."""
        if self.program is None:
            raise NotFoundError("docker-registry is not installed", remedy="apt-get install docker-registry")
        self.host = f"127.0.0.1:{_free_port()}"
        config = self.folder / "registry.yml"
        config.write_text(_CONFIG.format(folder=self.folder / "data", host=self.host), encoding="utf-8")
        with (self.folder / "registry.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  (a program found on the path, with our own file)
                [self.program, "serve", str(config)], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _wait(self) -> None:
        until = time.monotonic() + _STARTED_WITHIN
        while time.monotonic() < until and self._process is not None and self._process.poll() is None:
            try:
                with urlopen(f"http://{self.host}/v2/", timeout=2):
                    return
            except (URLError, OSError):
                time.sleep(0.05)
        log = (self.folder / "registry.log").read_text(encoding="utf-8", errors="replace")[-500:]
        raise TransitError(f"docker-registry does not answer on {self.host}: {log}", remedy="Read its log.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
