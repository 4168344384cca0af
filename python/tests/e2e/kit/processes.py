"""Processes that serve, and waiting for them."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PATIENCE = 120.0
"""Seconds that a test waits for what should take a moment: build servers stall."""

SECRET = re.compile(r"pypi-Ag[A-Za-z0-9_-]{20}|eyJ[A-Za-z0-9_-]{20}")
"""The beginning of an upload token or an ID token, which no log may hold."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Raises AssertionError where `what` doesn't come about in time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


def answers(port: int, path: str) -> bool:
    """Whether a plain HTTP server on loopback answers this path with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Server:
    """A process that serves, with its log in a file."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
            )

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """As `wait_until`, but a process that has ended is not waited for."""

        def check() -> bool:
            code = self._process.poll()
            assert code is None, f"ended with {code} before: {what}\n{self.log.read_text()}"
            return ready()

        try:
            wait_until(check, what)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it as an operator would, and kills it where that doesn't help."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        told = SECRET.findall(self.log.read_text(errors="replace"))
        assert not told, f"{self.log} holds {len(told)} tokens"
