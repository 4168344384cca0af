"""Fixtures of all the package's tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import Issuer, Keyring, Service
from support.waited import Waited

import mintage

Serve = Callable[..., Service]


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An OIDC issuer on loopback, with an RSA key of its own."""
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    """One for all services of a run, so that all of them are replicas."""
    return Keyring(tmp_path_factory.mktemp("mintage") / "keys")


@pytest.fixture(scope="session")
def service(
    tmp_path_factory: pytest.TempPathFactory, keyring: Keyring, issuer: Issuer
) -> Iterator[Service]:
    """A service that tests share; none of them stops it."""
    with Service(tmp_path_factory.mktemp("service"), keyring, issuer.url) as service:
        yield service


@pytest.fixture
def serve(tmp_path: Path, keyring: Keyring, issuer: Issuer) -> Iterator[Serve]:
    """Starts a service of a test's own, as `Service` says."""
    started: list[Service] = []

    def start(**keywords: Any) -> Service:
        started.append(Service(tmp_path, keyring, issuer.url, **keywords))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(params=["sync", "aio"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of both kinds, and closes them."""
    kind = mintage.Client if request.param == "sync" else Waited
    with contextlib.ExitStack() as stack:
        yield lambda *targets, **keywords: stack.enter_context(kind(*targets, **keywords))


@pytest.fixture
def client(make_client: Callable[..., Any], service: Service) -> Any:
    return make_client(service.address)
