"""The uploading tools, run as a job would run them: from an empty environment."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .places import TOOLS
from .processes import PATIENCE


@dataclass(frozen=True)
class Run:
    """A command that has ended, and all that it printed.

    Where `stdout` was kept apart, it comes first in `output`; or else it is empty, and what was
    printed is in its order.
    """

    command: tuple[str, ...]
    code: int
    output: str
    stdout: str = ""


class Tools:
    """Runs uv, twine, pdm and pip, each from its own venv, in a folder of the test's own."""

    def __init__(self, home: Path, authority: Path) -> None:
        self.home = home
        self._authority = authority

    def run(
        self, tool: str, *arguments: str | Path, env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Run:
        return self.execute(TOOLS / tool / "bin" / tool, *arguments, env=env, cwd=cwd)

    def execute(
        self, program: str | Path, *arguments: str | Path, env: Mapping[str, str] | None = None,
        cwd: Path | None = None, apart: bool = False,
    ) -> Run:
        """`apart` keeps standard output apart."""
        command = (str(program), *map(str, arguments))
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            text=True,
            timeout=3 * PATIENCE,
            cwd=cwd or self.home,
            env={**self._environment, **(env or {})},
        )
        if not apart:
            return Run(command, process.returncode, process.stdout)
        output = process.stdout + process.stderr
        return Run(command, process.returncode, output, process.stdout)

    @property
    def _environment(self) -> dict[str, str]:
        trust = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "COLUMNS": "4000",
            "NO_COLOR": "1",
            "PDM_CHECK_UPDATE": "0",
            "UV_NO_CONFIG": "1",
            # Its three retries would take 10 s for each answer that says to try again.
            "UV_HTTP_RETRIES": "1",
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **dict.fromkeys(trust, str(self._authority)),
        }


def twines_hosts(installed: Path) -> list[str]:
    """The hosts to which twine by itself uploads: those of PyPI and of TestPyPI."""
    code = "from twine.utils import *; print(DEFAULT_REPOSITORY, TEST_REPOSITORY)"
    python = installed / "twine" / "bin" / "python"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    urls = [urlsplit(url) for url in found.stdout.split()]
    assert all(url.path == "/legacy/" for url in urls), "twine has another upload path"
    return [url.netloc for url in urls]
