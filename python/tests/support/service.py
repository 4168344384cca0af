"""The real service: configured, started, awaited, ended.

    keyring = Keyring(folder / "keys")
    with Service(folder, keyring, issuer.url) as service:
        client = mintage.Client(service.address)

Several services with one `Keyring` are replicas. The binary is this tree's, built where it isn't;
`MINTAGE_TEST_BINARY` names another one, which is then taken as it is.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from .waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[3]

AUDIENCE = "pypi"

MEMORY = '[store]\nkind = "memory"'


@functools.cache
def binary() -> str:
    """The service's program."""
    named = os.environ.get("MINTAGE_TEST_BINARY")
    if named:
        return named
    build = ["cargo", "build", "--quiet", "--locked"]
    subprocess.run(build, cwd=REPOSITORY, check=True, stdin=subprocess.DEVNULL)
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return str(target / "debug" / "mintage")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Keyring:
    """A folder with one new master key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        generate = [binary(), "keys", "generate", "--directory", str(folder)]
        done = subprocess.run(generate, check=True, capture_output=True, text=True, timeout=60)
        self.folder = folder
        self.current = done.stdout.split()[-1]


class Service:
    """`mintage serve` on a free port of loopback, ready when the constructor returns.

    `host` is an address of loopback. `settings` are those of `configuration`.
    """

    def __init__(
        self,
        folder: Path,
        keyring: Keyring,
        issuer_url: str,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        ready: bool = True,
        **settings: str,
    ) -> None:
        self.host, self.port = host, free_port() if port is None else port
        self.address = f"{host}:{self.port}"
        self.log_path = folder / f"mintage-{host}-{self.port}.log"
        config = folder / f"mintage-{host}-{self.port}.toml"
        config.write_text(configuration(self.address, keyring, issuer_url, **settings))
        self._log_begins = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("a") as output:
            self.process = subprocess.Popen(
                [binary(), "serve", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(self._is_ready if ready else self._listens, "the service answers")
        except BaseException:
            self.kill()
            raise

    def log(self) -> str:
        """What this process has said, not the one that was here before."""
        with self.log_path.open() as log:
            log.seek(self._log_begins)
            return log.read()

    def answered(self, rpc: str) -> int:
        """How many calls of this method it has answered, as its audit trail has it."""
        return self.log().count(f'rpc="{rpc}"')

    def begin_to_stop(self) -> None:
        self.process.terminate()

    def stop(self) -> None:
        """Ends it as an operator does."""
        self.process.terminate()
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert code in (0, -9), f"mintage ended with {code}:\n{self.log()}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _listens(self) -> bool:
        assert self.process.poll() is None, f"mintage ended:\n{self.log()}"
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def _is_ready(self) -> bool:
        if not self._listens():
            return False
        with grpc.insecure_channel(self.address) as channel:
            try:
                request = health_pb2.HealthCheckRequest()
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def configuration(
    listen: str,
    keyring: Keyring,
    issuer_url: str,
    *,
    provider: str = "github",
    top: str = "",
    store: str = MEMORY,
    issuer: str = "",
    index: str = "",
    more: str = "",
) -> str:
    """The TOML of a service with one issuer and one index.

    What has a default is TOML too, but for `provider`: `top` stands before the first section,
    `store` is the store's section, `issuer` and `index` are more lines of theirs, `more` is whatever
    follows.
    """
    return (
        f"{_listening(listen, top)}\n{_keyring(keyring)}\n{store}\n"
        f"{_issuer(issuer_url, provider, issuer)}\n{_index(issuer_url, index)}\n{more}\n"
    )


def _listening(listen: str, top: str) -> str:
    return f'listen = "{listen}"\nadmin_listen = ""\n{top}\n'


def _keyring(keyring: Keyring) -> str:
    folder, current = json.dumps(str(keyring.folder)), json.dumps(keyring.current)
    return f"[keyring]\ndirectory = {folder}\ncurrent = {current}\n"


def _issuer(url: str, provider: str, lines: str) -> str:
    return f"[[issuers]]\nurl = {json.dumps(url)}\nprovider = {json.dumps(provider)}\n{lines}\n"


def _index(issuer_url: str, lines: str) -> str:
    return f"""[indexes.pypi]
audience = "{AUDIENCE}"
location = "index.example"
prefix = "pypi"
issuers = [{json.dumps(issuer_url)}]
extended_caveats = true
lifetime = "15m"
features = ["multi-use-token", "single-use-token"]
default_features = ["multi-use-token"]
{lines}
"""
