"""Around a Mint: projects that a pending publisher creates, and reports of jobs that differ."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import served
from served import LEGACY, Service

import mintage
import mintage.aio
from mintage import GitHub, Mismatch, Project, Publisher
from mintage.pep807 import (
    AsyncEndpoints,
    Endpoints,
    Index,
    PendingPublisher,
    Request,
    Response,
)

NEW = Project("70", "still-to-be")


class Registry:
    """An index's database: one publisher, which may wait for a project, and what was reported."""

    def __init__(self, issuer: str, *, pending: bool = True) -> None:
        one = served.publisher(issuer)
        kind = PendingPublisher if pending else Publisher
        self.candidates = [kind(one.id, one.issuer, one.identity, one.projects)]
        self.created: list[str] = []
        self.reported: list[Mismatch] = []
        self.threads: set[int] = set()

    def index(self, **changed: Any) -> Index:
        given: dict[str, Any] = {
            "create_pending": self.create,
            "report_mismatch": self.report,
            "name": "pypi",
        }
        return Index(LEGACY, "pypi", self.find, **(given | changed))

    def find(self, claims: Mapping[str, Any]) -> Iterable[Publisher]:
        return self.candidates

    def create(self, publisher: PendingPublisher) -> Publisher:
        self.threads.add(threading.get_ident())
        self.created.append(publisher.id)
        projects = (*publisher.projects, NEW)
        ready = Publisher(publisher.id, publisher.issuer, publisher.identity, projects)
        self.candidates = [ready if one.id == ready.id else one for one in self.candidates]
        return ready

    def report(self, mismatch: Mismatch) -> None:
        self.reported.append(mismatch)


Ask = Callable[[Index, str], Response]


@pytest.fixture(params=["threads", "event loop"])
def mint(request: pytest.FixtureRequest, service: Service) -> Ask:
    """mint-token, with the ID token, of an index; by either kind of endpoints."""

    def asked(id_token: str) -> Request:
        body = json.dumps({"token": id_token}).encode()
        return Request("POST", "/_/oidc/mint-token", body=body, client_ip="192.0.2.1")

    def in_threads(index: Index, id_token: str) -> Response:
        with mintage.Client(service.address) as client:
            answer = Endpoints(client, [index]).handle(asked(id_token))
        assert answer is not None
        return answer

    async def in_a_loop(index: Index, id_token: str) -> Response:
        async with mintage.aio.Client(service.address) as client:
            answer = await AsyncEndpoints(client, [index]).handle(asked(id_token))
        assert answer is not None
        return answer

    if request.param == "threads":
        return in_threads
    return lambda index, id_token: asyncio.run(in_a_loop(index, id_token))


def token(answer: Response) -> str:
    assert answer.status == 200, answer.body
    return str(json.loads(answer.body)["token"])


def test_a_pending_publisher_gets_its_project_and_a_token_for_it(
    service: Service, mint: Ask, client: mintage.Client
) -> None:
    registry, id_token = Registry(service.issuer.url), service.issuer.id_token("pypi")
    first = token(mint(registry.index(), id_token))
    assert registry.created == ["p1"]
    assert client.verify(first, mintage.Access(NEW, ("p1",)), index="pypi")
    # The client's retry: what is found now is what was minted for then.
    assert token(mint(registry.index(), id_token)) == first
    assert registry.created == ["p1"] and registry.reported == []


def test_the_function_that_may_wait_does_not_hold_the_event_loop(
    service: Service, client: mintage.Client
) -> None:
    registry = Registry(service.issuer.url)
    body = json.dumps({"token": service.issuer.id_token("pypi")}).encode()
    request = Request("POST", "/_/oidc/mint-token", body=body)

    async def mint() -> None:
        async with mintage.aio.Client(service.address) as client:
            await AsyncEndpoints(client, [registry.index()]).handle(request)

    asyncio.run(mint())
    assert registry.created and threading.get_ident() not in registry.threads


def test_a_job_that_is_another_creates_nothing_and_is_reported(
    service: Service, mint: Ask
) -> None:
    registry = Registry(service.issuer.url)
    registry.candidates.append(
        Publisher("p2", service.issuer.url, GitHub("octo", "1", "sampleproject", "other.yml"))
    )
    id_token = service.issuer.id_token("pypi", "octo/elsewhere")
    answer = mint(registry.index(), id_token)
    assert (answer.status, registry.created) == (422, [])
    assert [(one.publisher_id, one.claim, one.found) for one in registry.reported] == [
        ("p1", "repository", "octo/elsewhere"),
        ("p2", "repository", "octo/elsewhere"),
    ]


def test_a_job_that_is_another_publisher_creates_nothing_for_the_pending_one(
    service: Service, mint: Ask
) -> None:
    registry = Registry(service.issuer.url)
    pending = registry.candidates[0]
    other = replace(pending, id="p2", identity=GitHub("octo", "1", "other", "release.yml"))
    registry.candidates = [other, served.publisher(service.issuer.url)]
    token(mint(registry.index(), service.issuer.id_token("pypi")))
    assert registry.created == []


@pytest.mark.parametrize("spoilt", ["signature", "audience"])
def test_an_id_token_that_is_none_creates_and_reports_nothing(
    service: Service, mint: Ask, spoilt: str
) -> None:
    registry = Registry(service.issuer.url)
    good = service.issuer.id_token("other" if spoilt == "audience" else "pypi", "octo/elsewhere")
    forged = good.rpartition(".")[0] + "." + "A" * 342
    answer = mint(registry.index(), good if spoilt == "audience" else forged)
    assert answer.status == 422
    assert registry.created == [] and registry.reported == []


def test_without_the_functions_everything_is_as_before(service: Service, mint: Ask) -> None:
    registry = Registry(service.issuer.url)
    index = registry.index(create_pending=None, report_mismatch=None)
    token(mint(index, service.issuer.id_token("pypi")))
    assert mint(index, service.issuer.id_token("pypi", "octo/elsewhere")).status == 422
    assert registry.created == [] and registry.reported == []


def test_a_function_that_fails_leaves_the_id_token_good_and_the_refusal_as_it_is(
    service: Service, mint: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    registry, id_token = Registry(service.issuer.url), service.issuer.id_token("pypi")

    def fails(_: object) -> Any:
        raise RuntimeError(f"quotes {id_token}")

    broken = registry.index(create_pending=fails, report_mismatch=fails)
    assert mint(broken, id_token).status == 500
    refused = mint(broken, service.issuer.id_token("pypi", "octo/elsewhere"))
    assert refused.status == 422 and "octo/elsewhere" in refused.sentence
    assert "report_mismatch failed" in caplog.text and id_token not in caplog.text
    token(mint(registry.index(), id_token))
