"""What the tests of the endpoints need: the real service, an issuer, and real web servers.

The issuer is that of the interoperability tests. Two indexes are configured in one service, so
that one host can serve both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PYTHON = Path(__file__).resolve().parent.parent.parent
REPOSITORY = PYTHON.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))

sys.path[:0] = [str(REPOSITORY / "tests" / "interop"), str(Path(__file__).parent)]

pytest.register_assert_rewrite("asking")

import served  # noqa: E402
from asking import PATIENCE, Host  # noqa: E402
from issuer import Issuer  # noqa: E402
from served import Service, free_port, until  # noqa: E402

import mintage  # noqa: E402


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("mintage")
    (home / "keys").mkdir(mode=0o700)
    binary = _binary()
    made = subprocess.run(
        [binary, "keys", "generate", "--directory", home / "keys"],
        check=True, capture_output=True, text=True, timeout=PATIENCE,
    )
    address = f"127.0.0.1:{free_port()}"
    config = home / "mintage.toml"
    config.write_text(_config(address, made.stdout.split()[-1], issuer.url))
    log = (home / "mintage.log").open("w")
    command = [binary, "serve", "--config", config]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with mintage.Client(address) as client:
            until(lambda: _answers(client), lambda: process.poll() is None)
        yield Service(address, issuer)
    finally:
        process.terminate()
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[mintage.Client]:
    with mintage.Client(service.address) as client:
        yield client


@pytest.fixture(scope="session", params=["uvicorn", "waitress", "wsgiref", "gunicorn"])
def host(request: pytest.FixtureRequest, service: Service) -> Iterator[Host]:
    """The endpoints of two indexes, behind each web server in turn."""
    if request.param == "gunicorn":
        serving = served.gunicorn_host(service.address, service.issuer.url)
    else:
        serve = getattr(served, f"{request.param}_host")
        serving = serve(service.address, served.indexes(service.issuer.url))
    with serving as host:
        yield host


def _answers(client: mintage.Client) -> bool:
    try:
        client.verify("pypi-x", mintage.Access(), index="pypi")
    except mintage.Unavailable:
        return False
    return True


def _binary() -> Path:
    binary = TARGET / "debug" / "mintage"
    if not binary.exists():
        build = ["cargo", "build", "--quiet", "--locked"]
        subprocess.run(build, cwd=REPOSITORY, check=True, stdin=subprocess.DEVNULL)
    return binary


def _config(address: str, key_id: str, issuer_url: str) -> str:
    quoted = json.dumps(issuer_url)
    indexes = "".join(
        f"""
[indexes.{name}]
audience = "{name}"
location = "{name}.example"
prefix = "{name}"
issuers = [{quoted}]
extended_caveats = true
lifetime = "15m"
features = ["multi-use-token", "single-use-token"]
default_features = ["multi-use-token"]
"""
        for name in ("pypi", "other")
    )
    return f"""
listen = "{address}"

[keyring]
directory = "keys"
current = "{key_id}"

[store]
kind = "memory"

[limits]
enabled = false

[[issuers]]
url = {quoted}
provider = "github"
{indexes}"""
