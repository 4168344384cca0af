"""Credentials stay where they belong: out of every text, and inside their process."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from typing import Any

import pytest
from support import AUDIENCE, Front, Issuer, Service
from support.examples import publisher, upload

import mintage
import mintage.aio

CALLER = "caller-of-the-web-tier"


@pytest.mark.parametrize("kind", [mintage.Client, mintage.aio.Client])
def test_a_client_shows_no_token_and_is_not_pickled(kind: type[Any]) -> None:
    client = kind("127.0.0.1:1", caller_token=CALLER)
    for text in (repr(client), str(client), repr(vars(client))):
        assert CALLER not in text
    assert "127.0.0.1:1" in repr(client)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickled"):
            attempt(client)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(vars(client)["_connection"])


@pytest.mark.parametrize("token", ["", "two words", "line\r\nx: y", "ümlaut", b"bytes", 7])
def test_a_caller_token_that_no_header_can_hold_is_not_repeated(token: Any) -> None:
    with pytest.raises(ValueError) as mistake:
        mintage.Client("127.0.0.1:1", caller_token=token)
    assert str(token) not in str(mistake.value) or not token


def test_answers_show_no_token(client: Any) -> None:
    minted = client.mint_for_user("42")
    narrowed = client.attenuate(minted.token, [mintage.Actions(("upload",))])
    assert minted.token not in repr(minted) and narrowed.token not in repr(narrowed)
    kept = mintage.KeptToken(b"root-key", mintage.Subject(user_id="42"))
    assert "root-key" not in repr(kept)


def test_neither_errors_nor_logs_show_a_token(
    make_client: Any, service: Service, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_client(service.address, caller_token=CALLER)
    id_token = issuer.id_token(AUDIENCE)
    token = client.mint_for_publisher(id_token, [publisher(issuer)]).token
    shown = []
    for attempt in (
        lambda: client.mint_for_publisher(id_token, [publisher(issuer)]),
        lambda: client.attenuate(token, []),
        lambda: client.verify(token, upload(), requester=mintage.Requester("nowhere")),
    ):
        with pytest.raises(mintage.Error) as failed:
            attempt()
        shown.append("".join(traceback.format_exception(failed.value)))
    everything = "\n".join([*shown, caplog.text])
    for secret in (CALLER, id_token, token, token[20:60]):
        assert secret not in everything


def test_a_caller_token_is_sent_as_a_bearer(make_client: Any, service: Service) -> None:
    with Front(service.address) as front:
        make_client(front.address, caller_token=CALLER).mint_for_user("42")
        make_client(front.address).mint_for_user("42")
    with_token, without = (headers for _, headers, _ in front.calls)
    assert with_token["authorization"] == f"Bearer {CALLER}"
    assert "authorization" not in without


def test_no_proxy_of_the_environment_is_asked(
    make_client: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert make_client(f"dns:///{service.address}").mint_for_user("42").token
