"""A database shaped like Warehouse's, and its services on the real Mintage."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[2]
sys.path[:0] = [str(path) for path in (HERE, HERE.parent, PYTHON / "src", PYTHON / "tests" / "e2e")]

import table  # noqa: E402
from kit.identities import Issuer  # noqa: E402
from kit.mintage import AUDIENCE, Mintage  # noqa: E402
from mintage_warehouse import MintageMacaroonService, access_for  # noqa: E402

import mintage  # noqa: E402

INDEX = "pypi"
"""As Warehouse would have it; the service's other index is `example`."""


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[mintage.Client]:
    """A client of the real service."""
    settings = f"""
[indexes.{INDEX}]
audience = "{AUDIENCE}"
location = "pypi.org"
prefix = "pypi"
issuers = ["{issuer.url}"]
extended_caveats = false
lifetime = "15m"
features = ["multi-use-token"]
default_features = ["multi-use-token"]
"""
    folder = tmp_path_factory.mktemp("mintage")
    service = Mintage(folder, {issuer.url: "github"}, settings=settings)
    with mintage.Client(service.address, index=INDEX) as client:
        yield client
    service.stop()


@pytest.fixture
def db() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    table.Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


@pytest.fixture
def macaroons(db: Session, client: mintage.Client) -> MintageMacaroonService:
    access_of = access_for(table.Project)
    return MintageMacaroonService(db, client, table.Macaroon, access_of, index=INDEX)


@pytest.fixture
def project(db: Session) -> table.Project:
    made = table.Project(name="SampleProject")
    db.add(made)
    db.flush()
    return made


@pytest.fixture
def publisher(db: Session, project: table.Project) -> table.Publisher:
    made = table.Publisher(projects=[project])
    db.add(made)
    db.flush()
    return made
