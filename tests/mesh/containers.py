"""Replicas and their Redis in containers, on networks that they can be cut off from.

    front: Envoy (on this machine), the issuer (too), the replicas
    store: the replicas, Redis

Images are made from scratch out of programs on this machine; nothing is pulled. Networks and
containers are this process's own, and go with it; those of processes that were killed go with the
next.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from kit.certificates import Authority
from support import REPOSITORY, Issuer, Keyring
from support.service import binary, configuration

LABEL = "mintage-test-mesh"
"""Of containers and networks; its value is the process that they belong to."""

OWN = f"{LABEL}={os.getpid()}"

PORT = 50051
REDIS = 9
REPLICAS = (10, 11, 12)
"""The last parts of addresses."""


def docker(*arguments: str | Path) -> str:
    """What Docker's command prints; it has to succeed."""
    command = ["docker", *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


def engine_is_here() -> bool:
    """Whether a Docker engine runs, and on this machine: one elsewhere has its networks there."""
    gateway = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
    with contextlib.suppress(OSError, AssertionError), socket.socket() as probe:
        probe.bind((docker("network", "inspect", "bridge", "--format", gateway), 0))
        return True
    return False


class Network:
    """A bridge with addresses that nobody else has. This machine's is `gateway`."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = f"{LABEL}-{os.getpid()}-{name}"
        self._prefix = self._made(options)
        self.gateway = self.address(1)

    def address(self, last: int) -> str:
        return f"{self._prefix}.{last}"

    def connect(self, container: str, last: int) -> None:
        docker("network", "connect", "--ip", self.address(last), self.name, container)

    def disconnect(self, container: str) -> None:
        docker("network", "disconnect", "--force", self.name, container)

    def close(self) -> None:
        docker("network", "rm", self.name)

    def _made(self, options: tuple[str, ...]) -> str:
        """The first three parts of its addresses. Docker refuses those that are taken."""
        for third in random.sample(range(256), 16):
            prefix = f"10.213.{third}"
            create = ["network", "create", "--label", OWN, *options]
            create += ["--subnet", f"{prefix}.0/24", "--gateway", f"{prefix}.1", self.name]
            with contextlib.suppress(AssertionError):
                docker(*create)
                return prefix
        docker(*create)
        raise AssertionError("unreachable")


class HttpsIssuer(Issuer):  # type: ignore[misc]  # without types
    """An issuer that containers reach: plain HTTP is for loopback."""

    def __init__(self, host: str, authority: Authority) -> None:
        super().__init__()
        certificate = authority.certificate(host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        handler: type[http.server.BaseHTTPRequestHandler] = self._handler()
        self._https = http.server.ThreadingHTTPServer((host, 0), handler)
        self._https.socket = context.wrap_socket(self._https.socket, server_side=True)
        self.url = f"https://{host}:{self._https.server_port}"
        threading.Thread(target=self._https.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._https.shutdown()
        self._https.server_close()
        super().close()


class Containers:
    """Three replicas and a Redis, as `running` has started them."""

    def __init__(self, front: Network, store: Network, issuer: Issuer) -> None:
        self.front, self.store, self.issuer = front, store, issuer
        self._names: dict[int, str] = {}

    @property
    def addresses(self) -> list[str]:
        """As Envoy reaches them."""
        return [f"{self.front.address(last)}:{PORT}" for last in REPLICAS]

    def cut_off(self, network: Network, last: int) -> None:
        network.disconnect(self._names[last])

    def reconnect(self, network: Network, last: int) -> None:
        network.connect(self._names[last], last)

    def never_ended(self) -> bool:
        state = "{{.State.Running}} {{.RestartCount}}"
        return all(docker("inspect", "-f", state, name) == "true 0" for name in self._names.values())

    def start(
        self,
        last: int,
        network: Network,
        image: str,
        command: tuple[str | Path, ...],
        *options: str | Path,
    ) -> None:
        """A container with this address on the network, and on the store's."""
        name = f"{LABEL}-{os.getpid()}-{last}"
        create: list[str | Path] = ["create", "--name", name, "--label", OWN]
        create += ["--network", network.name, "--ip", network.address(last), *options]
        docker(*create, image, *command)
        self._names[last] = name
        if network is not self.store:
            self.store.connect(name, last)
        docker("start", name)

    def close(self) -> None:
        for name in self._names.values():
            docker("rm", "--force", "--volumes", name)


@contextlib.contextmanager
def running(folder: Path, keyring: Keyring, redis_program: str) -> Iterator[Containers]:
    """Images, networks, containers; all of it is gone at the end."""
    sweep()
    with contextlib.ExitStack() as stack:
        # More than half of it is for a debugger.
        program = folder / "mintage"
        subprocess.run(["strip", "-o", program, binary()], check=True)
        image = _image(stack, "image", str(program))
        redis_image = _image(stack, "redis-image", redis_program)
        front = stack.enter_context(contextlib.closing(Network("front")))
        # Nothing gets there by way of this machine.
        store = stack.enter_context(contextlib.closing(Network("store", "--internal")))
        authority = Authority(folder)
        issuer = stack.enter_context(contextlib.closing(HttpsIssuer(front.gateway, authority)))
        containers = stack.enter_context(contextlib.closing(Containers(front, store, issuer)))
        containers.start(REDIS, store, redis_image, ("--save", "", "--protected-mode", "no"))
        config = folder / "mintage.toml"
        config.write_text(_configuration(containers, keyring, authority))
        # Whoever owns the files may read them.
        options: list[str | Path] = ["--user", f"{os.getuid()}:{os.getgid()}"]
        for readable in (folder, keyring.folder):
            options += ["--volume", f"{readable}:{readable}:ro"]
        for last in REPLICAS:
            containers.start(last, front, image, ("serve", "--config", config), *options)
        yield containers


def sweep() -> None:
    """Takes away what tests left behind that were killed."""
    own = ("--filter", f"label={LABEL}", "--format", '{{.ID}} {{.Label "' + LABEL + '"}}')
    for kind, remove in (("container", ("rm", "--force", "--volumes")), ("network", ("rm",))):
        list_all = ("ls", "--all") if kind == "container" else ("ls",)
        for line in docker(kind, *list_all, *own).splitlines():
            id_, process = line.split()
            if not Path("/proc", process).exists():
                docker(kind, *remove, id_)
    for tag in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        image, _, process = tag.rpartition(":")
        if image.startswith(LABEL) and not Path("/proc", process).exists():
            docker("image", "rm", tag)


def _image(stack: contextlib.ExitStack, script: str, program: str) -> str:
    tag = f"{LABEL}-{script}:{os.getpid()}"
    make = [str(REPOSITORY / "scripts" / script), program, tag]
    subprocess.run(make, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    stack.callback(docker, "image", "rm", tag)
    return tag


def _configuration(containers: Containers, keyring: Keyring, authority: Authority) -> str:
    redis = f"redis://{containers.store.address(REDIS)}"
    return configuration(
        f"0.0.0.0:{PORT}",
        keyring,
        containers.issuer.url,
        top="allow_anonymous_callers = true",
        store=f'[store]\nkind = "redis"\nurl = "{redis}"',
        issuer=f'ca_file = "{authority.file}"',
    )
