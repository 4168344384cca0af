"""How each tool publishes: with a CI job's identity, or with an upload token that it is given.

Each call returns the commands that ran, in order. Tokens are given in the
environment, as a job would do it, so that no command line holds one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from .places import PACKAGE
from .tools import Run, Tools

USER = "__token__"


class Uploader(Protocol):
    """A tool, as these tests use it."""

    name: str

    def publish(self, url: str, dist: Path, job: Mapping[str, str]) -> list[Run]:
        """Everything in `dist`, by trusted publishing."""
        ...

    def upload(self, url: str, dist: Path, token: str) -> list[Run]:
        """Everything in `dist`, with an upload token from elsewhere."""
        ...


class Uv:
    name = "uv"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def publish(self, url: str, dist: Path, job: Mapping[str, str]) -> list[Run]:
        return [self._run(url, dist, job, "--trusted-publishing", "always")]

    def upload(self, url: str, dist: Path, token: str) -> list[Run]:
        return [self._run(url, dist, {"UV_PUBLISH_TOKEN": token})]

    def _run(self, url: str, dist: Path, env: Mapping[str, str], *options: str) -> Run:
        command = ("uv", "publish", *options, "--publish-url", url, "dist/*")
        return self._tools.run(*command, cwd=dist.parent, env=env)


class Twine:
    """twine with an upload token of `python -m mintage.exchange`."""

    name = "twine"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def publish(
        self, url: str, dist: Path, job: Mapping[str, str], *options: str
    ) -> list[Run]:
        exchange = self.exchange(url, dist, job, *options)
        if exchange.code != 0:
            return [exchange]
        return [exchange, *self.upload(url, dist, exchange.stdout.strip())]

    def upload(self, url: str, dist: Path, token: str) -> list[Run]:
        env = {"TWINE_USERNAME": USER, "TWINE_PASSWORD": token}
        files = sorted(f"dist/{path.name}" for path in dist.iterdir())
        command = ("twine", "upload", "--disable-progress-bar", "--repository-url", url, *files)
        return [self._tools.run(*command, cwd=dist.parent, env=env)]

    def exchange(self, url: str, dist: Path, job: Mapping[str, str], *options: str) -> Run:
        command = (sys.executable, "-m", "mintage.exchange", url, *options)
        env = {"PYTHONPATH": str(PACKAGE), **job}
        return self._tools.execute(*command, cwd=dist.parent, env=env, apart=True)


class Pdm:
    """pdm, and what is in the log that it names: of a refusal it prints no more than the status."""

    name = "pdm"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def publish(self, url: str, dist: Path, job: Mapping[str, str]) -> list[Run]:
        return self._run(url, dist, job)

    def upload(self, url: str, dist: Path, token: str) -> list[Run]:
        return self._run(url, dist, {"PDM_PUBLISH_USERNAME": USER, "PDM_PUBLISH_PASSWORD": token})

    def _run(self, url: str, dist: Path, env: Mapping[str, str]) -> list[Run]:
        command = ("pdm", "publish", "--no-build", "--repository", url)
        run = self._tools.run(*command, cwd=dist.parent, env=env)
        named = re.search(r"See (\S+) for detailed debug log", run.output)
        if named is None:
            return [run]
        return [run, self._tools.execute("grep", '"detail"', named[1])]
