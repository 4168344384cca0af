"""An index's own answers beside the endpoints: refusals in an ASGI application, and in uvicorn."""

from __future__ import annotations

import json
from typing import Any

import pytest
import served
from asking import assert_problem
from served import Service
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import mintage
import mintage.asgi
import mintage.uvicorn
from mintage import Denial, Reason, Verification, pep807
from mintage.uploads import mistaken

SENTENCE = "The token is for another project."


def denied() -> pep807.Response:
    return pep807.refused(Verification(False, (Denial(Reason.CAVEAT_PROJECT, SENTENCE),)))


def test_a_refusal_of_the_indexs_own_has_the_form_of_the_others() -> None:
    answer = pep807.problem(409, "taken", "It is taken.", headers=(("X-A", "b"),))
    body = json.loads(answer.body)
    assert (body["status"], body["title"]) == (409, "Conflict")
    assert body["errors"] == [{"code": "taken", "description": "It is taken."}]
    assert answer.status_line == "409 It is taken." and ("X-A", "b") in answer.headers


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (mistaken("it is wrong"), 400, "It is wrong."),
        (mintage.Unavailable("it is down", reason=Reason.UNAVAILABLE), 503, "It is down."),
        (HTTPException(404), 404, "Not Found"),
        (HTTPException(405, "No.", {"Allow": "GET"}), 405, "No."),
        (HTTPException(418), 418, "I'm a Teapot"),
        (KeyError("pypi-secret"), 500, "The index has a defect here"),
    ],
)
def test_whatever_an_application_raises_has_an_answer(
    error: Exception, status: int, sentence: str
) -> None:
    answer = mintage.asgi.refusal(error)
    assert (answer.status, sentence in answer.sentence) == (status, True)
    assert b"secret" not in answer.body
    headers = mintage.asgi.headers(answer)
    assert headers["X-Reason"] == answer.status_line.partition(" ")[2]
    assert headers.get("Allow") == ("GET" if status == 405 else None)
    assert headers.get("Connection") == ("close" if status == 500 else None)


def test_an_answer_that_is_none_of_a_refusal_has_no_reason() -> None:
    answer = pep807.Response(200, (("Content-Type", "text/plain"),), b"")
    assert mintage.asgi.headers(answer) == {"Content-Type": "text/plain"}


@pytest.mark.parametrize(
    ("scope", "ip", "agent"),
    [
        ({"client": ("192.0.2.1", 1)}, "192.0.2.1", ""),
        ({"client": ("::ffff:192.0.2.1", 1)}, "192.0.2.1", ""),
        ({"client": None}, "", ""),
        ({"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"192.0.2.1")]}, "", ""),
        ({"client": ("x", 1), "headers": [(b"User-Agent", b"u\xe9" * 600)]}, "", "u?" * 256),
    ],
)
def test_who_asks_is_told_as_the_endpoints_tell_it(
    scope: dict[str, Any], ip: str, agent: str
) -> None:
    assert mintage.asgi.requester(scope) == mintage.Requester(ip, agent)


def raises(request: Request) -> Response:
    raise mistaken("it is wrong")


def hostile(request: Request) -> Response:
    return Response(b"x", 403, {"x-ReaSon": "\xe9" + "r" * 9_000, "X-Other": "kept"})


def answers(request: Request, error: Exception) -> Response:
    no = mintage.asgi.refusal(error)
    return Response(no.body, no.status, mintage.asgi.headers(no))


def test_uvicorn_writes_the_sentence_into_the_status_line_and_the_header_goes_no_further(
    service: Service,
) -> None:
    app = Starlette(
        routes=[Route("/raises", raises), Route("/hostile", hostile)],
        exception_handlers=dict.fromkeys((Exception, HTTPException, type(mistaken(""))), answers),
    )
    options = {"http": mintage.uvicorn.Protocol}
    indexes = served.indexes(service.issuer.url)
    with served.uvicorn_host(service.address, indexes, app=app, server=options) as host:
        refused = host.ask("GET", "/raises")
        assert (refused.status, refused.reason) == (400, "It is wrong.")
        assert_problem(refused)
        assert "x-reason" not in refused.headers
        bounded = host.ask("GET", "/hostile")
        assert bounded.reason == "?" + "r" * 239
        assert bounded.headers["x-other"] == "kept" and "x-reason" not in bounded.headers
        assert host.ask("GET", "/_/oidc/audience").reason == "OK"
