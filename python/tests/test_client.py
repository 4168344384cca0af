"""Every method of both clients, against the real service."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pymacaroons import Macaroon
from support import AUDIENCE, Issuer, Service
from support.examples import PROJECT, publisher, upload

import mintage
from mintage import Project


def test_a_ci_job_gets_a_token_for_the_projects_it_wants(client: Any, issuer: Issuer) -> None:
    minted = client.mint_for_publisher(
        issuer.id_token(AUDIENCE),
        [publisher(issuer)],
        projects=["sampleproject"],
        caveats=[mintage.Versions(("1.0",))],
        lifetime=timedelta(minutes=20),
        features=[mintage.SINGLE_USE],
        requester=mintage.Requester("192.0.2.1", "twine/7"),
    )
    assert minted.token.startswith("pypi-")
    assert minted.publisher_id == "11"
    assert minted.projects == (PROJECT,)
    assert minted.features == (mintage.SINGLE_USE,)
    assert mintage.Versions(("1.0",)) in minted.caveats
    left = minted.expires_at - datetime.now(timezone.utc)
    assert timedelta(minutes=19) < left < timedelta(minutes=21)
    assert minted.identity.issuer == issuer.url
    assert minted.identity.claims["repository"] == "octo/sampleproject"
    assert isinstance(minted.identity.claims["exp"], int)


def test_a_token_is_good_for_its_project_and_no_other(client: Any, issuer: Issuer) -> None:
    token = client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)]).token
    allowed = client.verify(token, upload())
    assert allowed and allowed.allowed
    assert allowed.token.subject == mintage.Subject(publisher_id="11")
    assert allowed.token.minted_at <= datetime.now(timezone.utc) < allowed.token.expires_at
    denied = client.verify(token, upload(project=Project("9", "elsewhere")))
    assert not denied
    assert [denial.reason for denial in denied.denials] == [mintage.Reason.CAVEAT_PROJECT]
    assert denied.denials[0].caveat is not None and denied.denials[0].message


def test_a_single_use_token_is_spent_by_a_verify_and_not_by_a_dry_run(
    client: Any, issuer: Issuer
) -> None:
    token = client.mint_for_publisher(
        issuer.id_token(AUDIENCE), [publisher(issuer)], features=[mintage.SINGLE_USE]
    ).token
    assert client.verify(token, upload(), dry_run=True)
    assert client.verify(token, upload(), request_id="the upload")
    assert client.verify(token, upload(), request_id="the upload"), "the same upload again"
    denied = client.verify(token, upload())
    assert [denial.reason for denial in denied.denials] == [mintage.Reason.CAVEAT_USES_SPENT]


def test_a_user_gets_a_token_without_an_end(client: Any) -> None:
    minted = client.mint_for_user("42", caveats=[mintage.ProjectNames(("sampleproject",))])
    assert minted.expires_at is None and minted.identity is None and minted.publisher_id == ""
    answer = client.verify(minted.token, upload())
    assert answer and answer.token.subject == mintage.Subject(user_id="42")


def test_an_id_token_is_checked_without_redeeming_it(client: Any, issuer: Issuer) -> None:
    id_token = issuer.id_token(AUDIENCE, environment="release")
    found = client.verify_identity(id_token, [publisher(issuer)])
    assert found and found.publisher_id == "11"
    assert found.identity.claims["environment"] == "release"
    pinned = mintage.GitHub("octo", "1", "sampleproject", "release.yml", environment="pypi")
    missed = client.verify_identity(id_token, [publisher(issuer, identity=pinned)])
    assert not missed
    mismatch = missed.denials[0].mismatch
    assert mismatch == mintage.Mismatch("11", "environment", "pypi", "release")
    assert client.mint_for_publisher(id_token, [publisher(issuer)]).token


def test_a_narrowed_token_is_narrower(client: Any) -> None:
    wide = client.mint_for_user("42").token
    added = (mintage.Filenames(("a.whl",)), mintage.Digests((b"s" * 32,)))
    narrowed = client.attenuate(wide, added)
    assert narrowed.caveats[-2:] == added
    assert client.verify(narrowed.token, upload(filename="a.whl"))
    assert not client.verify(narrowed.token, upload(filename="b.whl"))


def test_a_revoked_token_is_refused_with_all_narrowed_from_it(client: Any) -> None:
    minted = client.mint_for_user("42")
    narrowed = client.attenuate(minted.token, [mintage.Actions(("upload",))]).token
    first = client.revoke(token_id=minted.token_id, cause="seen in a public log")
    assert first == mintage.Revoked(minted.token_id, again=False)
    assert client.revoke(narrowed).again
    denied = client.verify(narrowed, upload())
    assert [denial.reason for denial in denied.denials] == [mintage.Reason.TOKEN_REVOKED]


def test_a_token_that_the_index_minted_itself_is_verified_by_what_it_kept(client: Any) -> None:
    key = b"k" * 32
    name = str(uuid.uuid4())
    macaroon = Macaroon(location="index.example", identifier=name, key=key.decode(), version=2)
    token = "pypi-" + macaroon.serialize()
    kept = mintage.KeptToken(key, mintage.Subject(user_id="42"))
    assert client.verify(token, upload(), kept=kept)
    assert not client.verify(token, upload())
    stored = [mintage.ProjectIds(("9",))]
    assert not client.verify(token, upload(), kept=kept, stored_caveats=stored)
    assert not client.revoke(token, kept=kept).again
    assert not client.verify(token, upload(), kept=kept)


def test_revoke_takes_a_token_or_an_id(client: Any) -> None:
    with pytest.raises(TypeError):
        client.revoke()
    with pytest.raises(TypeError):
        client.revoke("pypi-AgE", token_id="1")


def test_the_index_of_a_client_is_that_of_its_calls(service: Service) -> None:
    with mintage.Client(service.address, index="elsewhere") as client:
        with pytest.raises(mintage.Refused) as refused:
            client.mint_for_user("42")
        assert refused.value.reason is mintage.Reason.INDEX_UNKNOWN
        assert client.mint_for_user("42", index="pypi").token


def test_one_text_in_place_of_several_is_a_mistake(client: Any) -> None:
    with pytest.raises(TypeError, match="projects"):
        client.mint_for_publisher("ID-token", [], projects="sampleproject")
    with pytest.raises(TypeError, match="features"):
        client.mint_for_user("42", features=mintage.SINGLE_USE)


def test_a_closed_client_says_so(make_client: Any, service: Service) -> None:
    client = make_client(service.address)
    client.mint_for_user("42")
    client.close()
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.mint_for_user("42")


def test_a_client_that_never_called_closes_too(make_client: Any, service: Service) -> None:
    make_client(service.address).close()


def test_the_longest_user_agents_are_shortened(client: Any) -> None:
    agent = mintage.Requester("192.0.2.1", "pip/26 " + "€" * 400)
    assert client.mint_for_user("42", requester=agent).token
