"""The real service for the tests: built, configured, started, awaited, ended."""

import base64
import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from issuer import Issuer

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))

INDEX = "pypi"
LOCATION = "index.example"
AUDIENCE = "pypi"


# The stubs are the package's; python/tests/test_stubs.py holds them to proto/.
sys.path.insert(0, str(REPOSITORY / "python" / "src"))

from mintage.v1 import token_service_pb2_grpc  # noqa: E402  (found above)


@dataclasses.dataclass
class Mintage:
    """A running service, and what only its operator knows."""

    address: str
    service: token_service_pb2_grpc.TokenServiceStub
    master_keys: dict[str, bytes]


@pytest.fixture(scope="session")
def issuer():
    """An OIDC issuer on loopback, with an RSA key of its own."""
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="session")
def mintage(tmp_path_factory, issuer):
    """`mintage serve` on a free port, ready."""
    with running(tmp_path_factory.mktemp("mintage"), issuer.url) as service:
        yield service


@contextlib.contextmanager
def running(home, issuer_url, more="", open_channel=grpc.insecure_channel):
    """`mintage serve` with its files in `home`, and `more` in its configuration."""
    binary = _binary()
    keys = home / "keys"
    keys.mkdir(mode=0o700)
    generated = subprocess.run(
        [binary, "keys", "generate", "--directory", keys],
        check=True, capture_output=True, text=True, timeout=60,
    )
    key_id = generated.stdout.split()[-1]
    port = _free_port()
    config = home / "mintage.toml"
    config.write_text(_config(port, key_id, issuer_url) + more)
    log = home / "mintage.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [binary, "serve", "--config", config],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )
    try:
        address = f"127.0.0.1:{port}"
        channel = open_channel(address)
        _wait_until_ready(channel, process, log)
        master_keys = {
            path.name: base64.b64decode(path.read_text())
            for path in keys.iterdir()
            if not path.name.startswith(".")
        }
        yield Mintage(address, token_service_pb2_grpc.TokenServiceStub(channel), master_keys)
        channel.close()
    finally:
        process.terminate()
        try:
            code = process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code == 0, f"mintage ended with {code}:\n{log.read_text()}"


def _binary():
    """The binary of this tree, built if it isn't."""
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked"], cwd=REPOSITORY, check=True, stdin=subprocess.DEVNULL
    )
    return TARGET / "debug" / "mintage"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _config(port, key_id, issuer_url):
    quoted = json.dumps
    return f"""
listen = "127.0.0.1:{port}"
admin_listen = ""

[keyring]
directory = "keys"
current = {quoted(key_id)}

[store]
kind = "memory"

[[issuers]]
url = {quoted(issuer_url)}
provider = "github"

[indexes.{INDEX}]
audience = "{AUDIENCE}"
location = "{LOCATION}"
prefix = "pypi"
issuers = [{quoted(issuer_url)}]
extended_caveats = true
lifetime = "15m"
features = ["multi-use-token", "single-use-token"]
default_features = ["multi-use-token"]
"""


def _wait_until_ready(channel, process, log):
    health = health_pb2_grpc.HealthStub(channel)
    end = time.monotonic() + 30
    last = None
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"mintage ended with {process.returncode}:\n{log.read_text()}")
        try:
            answer = health.Check(
                health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=1
            )
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            last = answer
        except grpc.RpcError as error:
            last = error
    pytest.fail(f"mintage did not get ready: {last}\n{log.read_text()}")
