"""The service itself, and the Redis that it may keep its marks in."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

from .places import BINARY, REPOSITORY, VENV
from .processes import Server, answers, free_port

AUDIENCE = "pypi"


class Mintage:
    """`mintage serve` on free ports. `settings` is TOML that stands beside what is fixed here."""

    def __init__(
        self,
        folder: Path,
        issuers: dict[str, str],
        *,
        store: str = 'kind = "memory"',
        settings: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "mintage.toml"
        self._log = folder / "mintage.log"
        self._port, self._admin_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self._port}"
        (folder / "keys").mkdir(mode=0o700)
        made = subprocess.run(
            [_binary(), "keys", "generate", "--directory", folder / "keys"],
            check=True, capture_output=True, text=True,
        )
        key_id = made.stdout.split()[-1]
        self._config.write_text(self._toml(key_id, issuers, store, settings))
        self.start()

    def start(self) -> None:
        """Starts it where it was, with the configuration and the keys that it had."""
        command: list[str | Path] = [_binary(), "serve", "--config", self._config]
        self._server = Server(command, self._log)
        self._server.wait_until(lambda: answers(self._admin_port, "/readyz"), "mintage is ready")

    def stop(self) -> None:
        self._server.stop()

    def is_ready(self) -> bool:
        return answers(self._admin_port, "/readyz")

    def _toml(self, key_id: str, issuers: dict[str, str], store: str, settings: str) -> str:
        tables = "".join(
            f"[[issuers]]\nurl = {json.dumps(url)}\nprovider = {json.dumps(provider)}\n"
            for url, provider in issuers.items()
        )
        return f"""
listen = "127.0.0.1:{self._port}"
admin_listen = "127.0.0.1:{self._admin_port}"

[keyring]
directory = "keys"
current = {json.dumps(key_id)}

[store]
{store}

{tables}
[indexes.example]
audience = "{AUDIENCE}"
location = "index.example"
prefix = "pypi"
issuers = {json.dumps(list(issuers))}
extended_caveats = true
lifetime = "15m"
features = ["multi-use-token", "single-use-token"]
default_features = ["multi-use-token"]
{settings}
"""


class Redis:
    """A Redis server on loopback that keeps nothing on disk."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        self.store = f'kind = "redis"\nurl = "redis://127.0.0.1:{self._port}"'
        self.start()

    def start(self) -> None:
        command: list[str | Path] = [
            self._program, "--port", str(self._port), "--bind", "127.0.0.1",
            "--save", "", "--appendonly", "no", "--dir", self._folder,
            "--maxmemory-policy", "noeviction",
        ]
        self._server = Server(command, self._folder / "redis.log")
        self._server.wait_until(self._pongs, "Redis answers")

    def stop(self) -> None:
        self._server.stop()

    def _pongs(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16) == b"+PONG\r\n"
        except OSError:
            return False


def redis_server() -> str | None:
    """The program: where `scripts/redis-server` leaves it, or on the PATH."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    return shutil.which("redis-server", path=path)


def _binary() -> Path:
    """The debug build, made where there is none."""
    if not BINARY.is_file():
        subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=REPOSITORY, check=True)
    return BINARY
