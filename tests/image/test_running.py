"""The image runs where nothing is allowed, and does what the program does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import mintage
from engine import Container, docker, hardened
from kit.certificates import Authority
from kit.identities import Issuer
from kit.mintage import redis_server
from kit.places import REPOSITORY
from kit.processes import PATIENCE, free_port, wait_until
from kit.tls import TlsFront

AUDIENCE = "pypi"
PROJECT = mintage.Project(id="7", name="sampleproject")
IDENTITY = mintage.GitHub("octo", "1", "sampleproject", "release.yml")
ACCESS = mintage.Access(PROJECT, ("11",), "1.0", "sampleproject-1.0.tar.gz", bytes(32))

Run = Callable[..., Container]


@pytest.fixture
def run(image: str, user: int, tmp_path: Path) -> Iterator[Run]:
    """Runs `mintage serve`: `run(issuer.url)`, with configuration and keys mounted."""
    started: list[Container] = []

    def start(
        issuer_url: str,
        *,
        port: int,
        store: str = 'kind = "memory"',
        network: str = "host",
        mounts: Mapping[str, Path] | None = None,
    ) -> Container:
        home = tmp_path / "mintage"
        write(home, issuer_url, port, store, image, user)
        options = hardened(user, {"/etc/mintage": home} | dict(mounts or {}))
        started.append(Container(image, options=[*options, f"--network={network}"]))
        return started[-1]

    yield start
    for container in started:
        container.remove()


def write(home: Path, issuer_url: str, port: int, store: str, image: str, user: int) -> None:
    """The configuration, and a key that the image's own command generates."""
    keys = home / "keys"
    keys.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(keys, user, user)
    key_id = docker(
        "run", "--rm", "--network=none", f"--user={user}", f"--volume={keys}:/keys", image,
        "keys", "generate", "--directory", "/keys",
    ).split()[-1]
    (home / "mintage.toml").write_text(f"""
listen = "127.0.0.1:{port}"

[keyring]
directory = "keys"
current = {json.dumps(key_id)}

[store]
{store}

[[issuers]]
url = {json.dumps(issuer_url)}
provider = "github"

[indexes.example]
audience = "{AUDIENCE}"
location = "index.example"
prefix = "pypi"
issuers = [{json.dumps(issuer_url)}]
extended_caveats = true
lifetime = "15m"
features = ["multi-use-token", "single-use-token"]
default_features = ["multi-use-token"]
""")


def wait_until_serving(address: str, container: Container) -> None:
    """As a prober would see it, by gRPC."""
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        def serving() -> bool:
            assert container.state()["Running"], container.log()
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        wait_until(serving, "the container serves")


def mint(address: str, issuer: Issuer) -> str:
    """A token for the project, out of an ID token of the issuer."""
    publisher = mintage.Publisher("11", issuer.url, IDENTITY, projects=(PROJECT,))
    with mintage.Client(address, timeout=PATIENCE) as client:
        minted = client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher])
        assert client.verify(minted.token, ACCESS)
        assert not client.verify(minted.token[:-4] + "AAAA", ACCESS)
    return str(minted.token)


def test_it_mints_and_verifies_read_only_without_rights_and_ends_well(
    run: Run, issuer: Issuer
) -> None:
    port = free_port()
    container = run(issuer.url, port=port)
    wait_until_serving(f"127.0.0.1:{port}", container)
    mint(f"127.0.0.1:{port}", issuer)

    assert container.stop() == 0, container.log()
    lines = container.log().splitlines()
    assert lines[-1].endswith("stopped"), lines
    assert any("stopping: running calls may end" in line for line in lines), lines


def test_it_trusts_the_authorities_at_the_path_where_the_image_has_them(
    run: Run, issuer: Issuer, authority: Authority
) -> None:
    front = TlsFront(int(issuer.url.rpartition(":")[2]), authority.certificate("localhost"))
    issuer.url = front.url
    try:
        bundle = {"/etc/ssl/certs/ca-certificates.crt": authority.file}
        port = free_port()
        container = run(issuer.url, port=port, mounts=bundle)
        wait_until_serving(f"127.0.0.1:{port}", container)
        mint(f"127.0.0.1:{port}", issuer)
    finally:
        front.close()


@pytest.fixture
def network() -> Iterator[str]:
    """A network of Docker's without a way out, where containers have names."""
    name = f"mintage-test-{os.getpid()}"
    docker("network", "create", "--internal", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture
def redis(network: str) -> Iterator[str]:
    """Redis's host name in that network."""
    program = redis_server()
    if program is None:
        pytest.skip("NOT TESTED, names in the image: there is no redis-server to name")
    tag = f"mintage-test-redis:{os.getpid()}"
    subprocess.run([REPOSITORY / "scripts" / "redis-image", program, tag], check=True)
    options = [f"--network={network}", "--network-alias=redis.internal"]
    server = Container(tag, "--save", "", "--protected-mode", "no", options=options)
    yield "redis.internal"
    server.remove()
    docker("image", "rm", "--force", tag)


def test_it_finds_redis_by_its_name(run: Run, network: str, redis: str, issuer: Issuer) -> None:
    store = f'kind = "redis"\nurl = "redis://{redis}:6379"'
    container = run(issuer.url, port=50051, store=store, network=network)
    container.wait_for_line("connected to Redis")
    assert container.stop() == 0, container.log()
