"""Every refusal of the service, as the errors and denials of both clients."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pymacaroons import Macaroon
from support import AUDIENCE, Issuer, Service
from support.examples import publisher, upload
from support.service import free_port

import mintage
from mintage import Reason

IdToken = Callable[[Issuer], str]


def _claims(**claims: Any) -> IdToken:
    return lambda issuer: issuer.id_token(AUDIENCE, **claims)


def _other_header(issuer: Issuer) -> str:
    _, claims, signature = issuer.id_token(AUDIENCE).split(".")
    header = json.dumps({"alg": "RS256", "typ": "JWT", "kid": "of nobody"}).encode()
    return f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.{claims}.{signature}"


def _other_signature(issuer: Issuer) -> str:
    signed, other = issuer.id_token(AUDIENCE), issuer.id_token(AUDIENCE)
    return f"{signed.rpartition('.')[0]}.{other.rpartition('.')[2]}"


BAD_ID_TOKENS: list[tuple[Reason, IdToken]] = [
    (Reason.ID_TOKEN_MALFORMED, lambda _: "not one"),
    (Reason.ISSUER_UNKNOWN, _claims(iss="https://issuer.example")),
    (Reason.ID_TOKEN_KEY_UNKNOWN, _other_header),
    (Reason.ID_TOKEN_SIGNATURE, _other_signature),
    (Reason.ID_TOKEN_EXPIRED, _claims(exp=int(time.time()) - 600)),
    (Reason.ID_TOKEN_NOT_YET_VALID, _claims(nbf=int(time.time()) + 3_000)),
    (Reason.ID_TOKEN_AUDIENCE, lambda issuer: issuer.id_token("testpypi")),
    (Reason.ID_TOKEN_CLAIMS, _claims(job_workflow_ref=7)),
    (Reason.EVENT_FORBIDDEN, _claims(event_name="pull_request_target")),
    (Reason.PUBLISHER_NOT_FOUND, lambda issuer: issuer.id_token(AUDIENCE, "octo/else")),
]


@pytest.mark.parametrize("reason, id_token", BAD_ID_TOKENS, ids=[str(r) for r, _ in BAD_ID_TOKENS])
def test_a_bad_id_token_is_refused_by_mint_and_denied_by_verify(
    client: Any, issuer: Issuer, reason: Reason, id_token: IdToken
) -> None:
    with pytest.raises(mintage.Refused) as refused:
        client.mint_for_publisher(id_token(issuer), [publisher(issuer)])
    assert refused.value.reason is reason
    assert str(refused.value) == refused.value.message != ""
    denied = client.verify_identity(id_token(issuer), [publisher(issuer)])
    assert not denied and denied.denials[0].reason is reason


def test_a_reused_id_token_is_refused_with_a_sentence(client: Any, issuer: Issuer) -> None:
    id_token = issuer.id_token(AUDIENCE)
    client.mint_for_publisher(id_token, [publisher(issuer)])
    with pytest.raises(mintage.Refused, match="fresh one") as refused:
        client.mint_for_publisher(id_token, [publisher(issuer)])
    assert refused.value.reason is Reason.ID_TOKEN_REUSED


def test_projects_that_are_not_the_publishers_are_refused(client: Any, issuer: Issuer) -> None:
    with pytest.raises(mintage.Refused) as refused:
        id_token = issuer.id_token(AUDIENCE)
        client.mint_for_publisher(id_token, [publisher(issuer)], projects=["elsewhere"])
    assert refused.value.reason is Reason.NO_ELIGIBLE_PROJECT


def test_what_a_request_may_not_be_names_its_field(client: Any, issuer: Issuer) -> None:
    with pytest.raises(mintage.Refused) as refused:
        client.mint_for_user("4" * 200)
    assert (refused.value.reason, refused.value.field) == (Reason.REQUEST_INVALID, "user.user_id")
    with pytest.raises(mintage.Refused) as refused:
        client.mint_for_publisher(
            issuer.id_token(AUDIENCE), [publisher(issuer)], lifetime=timedelta(seconds=1)
        )
    assert (refused.value.reason, refused.value.field) == (Reason.REQUEST_INVALID, "lifetime")


def test_a_feature_that_nobody_offers_is_refused(client: Any) -> None:
    with pytest.raises(mintage.Refused) as refused:
        client.mint_for_user("42", features=["eternal-token"])
    assert refused.value.reason is Reason.FEATURE_UNSUPPORTED


@pytest.mark.parametrize(
    "caveat, reason",
    [
        (mintage.Expiration(0, 1), Reason.CAVEAT_EXPIRED),
        (mintage.Expiration(2**40, 2**41), Reason.CAVEAT_NOT_YET_VALID),
        (mintage.ProjectNames(("else",)), Reason.CAVEAT_PROJECT),
        (mintage.ProjectIds(("9",)), Reason.CAVEAT_PROJECT),
        (mintage.UserId("43"), Reason.CAVEAT_USER),
        (mintage.PublisherId("12"), Reason.CAVEAT_PUBLISHER),
        (mintage.Versions(("2.0",)), Reason.CAVEAT_VERSION),
        (mintage.Filenames(("b.whl",)), Reason.CAVEAT_FILENAME),
        (mintage.Digests((b"t" * 32,)), Reason.CAVEAT_DIGEST),
        (mintage.ClientNetworks(("198.51.100.0/24",)), Reason.CAVEAT_CLIENT_NETWORK),
        (mintage.Actions(("yank",)), Reason.CAVEAT_ACTION),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_a_caveat_that_does_not_hold_is_named(
    client: Any, caveat: mintage.Caveat, reason: Reason
) -> None:
    token = client.attenuate(client.mint_for_user("42").token, [caveat]).token
    denied = client.verify(token, upload(), requester=mintage.Requester("192.0.2.1"))
    assert [denial.reason for denial in denied.denials] == [reason]
    assert denied.denials[0].caveat == 1, "the second of the token's caveats"
    assert denied.token.caveats[1] == caveat


def test_upload_tokens_that_are_none_are_denied(client: Any) -> None:
    good = client.mint_for_user("42").token
    for token, reason in [
        ("", Reason.TOKEN_MALFORMED),
        ("pypi-AgEI", Reason.TOKEN_MALFORMED),
        (good[:-3] + ("AAA" if good[-3:] != "AAA" else "BBB"), Reason.TOKEN_SIGNATURE),
        (_macaroon("m1.of-nobody.AaIBqrtXfDW7nRT58nlNYQ.u:42"), Reason.TOKEN_KEY_UNKNOWN),
        ("pypi-" + "A" * 20_000, Reason.TOKEN_TOO_LARGE),
    ]:
        denied = client.verify(token, upload())
        assert not denied and denied.token is None
        assert [denial.reason for denial in denied.denials] == [reason], token[:40]


def test_caveats_that_can_not_be_read_are_denied(client: Any) -> None:
    key = b"k" * 32
    kept = mintage.KeptToken(key, mintage.Subject(user_id="42"))
    denied = client.verify(_macaroon("own", key, '{"version": 7}'), upload(), kept=kept)
    assert [denial.reason for denial in denied.denials] == [Reason.CAVEAT_UNREADABLE]
    assert denied.token.caveats == (mintage.Unreadable(b'{"version": 7}'),)


def test_own_caveats_are_refused_where_the_index_has_none(make_client: Any, serve: Any) -> None:
    with_indexes = """
[indexes.plain]
audience = "plain"
location = "plain.example"
prefix = "pypi"
issuers = ["https://off.example"]
[[issuers]]
url = "https://off.example"
provider = "github"
enabled = false
"""
    client = make_client(serve(more=with_indexes).address, index="plain")
    with pytest.raises(mintage.Refused) as refused:
        client.mint_for_user("42", caveats=[mintage.Actions(("upload",))])
    assert refused.value.reason is Reason.CAVEAT_NOT_OFFERED


def test_an_issuer_that_is_switched_off_is_named(
    make_client: Any, serve: Any, issuer: Issuer
) -> None:
    client = make_client(serve(issuer="enabled = false").address)
    with pytest.raises(mintage.Refused) as refused:
        client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)])
    assert refused.value.reason is Reason.ISSUER_DISABLED


def test_a_spent_limit_says_when_to_come_back(
    make_client: Any, serve: Any, issuer: Issuer
) -> None:
    limits = '[limits]\nmint_per_client = { burst = 1, count = 1, period = "1m" }'
    client = make_client(serve(more=limits).address)
    requester = mintage.Requester("192.0.2.1")
    client.mint_for_user("42", requester=requester)
    with pytest.raises(mintage.Refused) as refused:
        client.mint_for_user("42", requester=requester)
    assert refused.value.reason is Reason.RATE_LIMITED
    assert refused.value.retry_after is not None and 0 < refused.value.retry_after <= 60


def test_callers_prove_who_they_are_and_do_what_they_may(make_client: Any, serve: Any) -> None:
    digest = hashlib.sha256(b"of-the-web-tier").hexdigest()
    callers = f'[[callers]]\nname = "web"\ntoken_sha256 = "{digest}"\nmay = ["mint-user"]'
    address = serve(more=callers).address
    assert make_client(address, caller_token="of-the-web-tier").mint_for_user("42").token
    for wrong in (None, "of-somebody-else"):
        with pytest.raises(mintage.Refused) as refused:
            make_client(address, caller_token=wrong).mint_for_user("42")
        assert refused.value.reason is Reason.CALLER_UNKNOWN
    with pytest.raises(mintage.Refused) as refused:
        make_client(address, caller_token="of-the-web-tier").verify("pypi-AgE", upload())
    assert refused.value.reason is Reason.CALLER_FORBIDDEN


def test_a_store_that_is_down_is_unavailable(
    make_client: Any, serve: Any, issuer: Issuer
) -> None:
    store = f'[store]\nkind = "redis"\nurl = "redis://127.0.0.1:{free_port()}"'
    address = serve(store=store, ready=False).address
    id_token = issuer.id_token(AUDIENCE)
    for health_checks in (False, True):
        client = make_client(address, health_checks=health_checks)
        with pytest.raises(mintage.Unavailable) as unavailable:
            client.mint_for_publisher(id_token, [publisher(issuer)])
        assert unavailable.value.reason is Reason.UNAVAILABLE
        # Its own words say when; where health kept the call from it there are none.
        assert (unavailable.value.retry_after is None) == health_checks
    attenuated = make_client(address, health_checks=False).attenuate(
        _macaroon("any"), [mintage.Actions(("upload",))]
    )
    assert attenuated.token, "what works without the store goes on"


def test_a_service_that_is_not_there_is_unavailable(make_client: Any) -> None:
    client = make_client(f"127.0.0.1:{free_port()}")
    with pytest.raises(mintage.Unavailable) as unavailable:
        client.mint_for_user("42")
    assert unavailable.value.reason is Reason.UNAVAILABLE
    assert "127.0.0.1" not in str(unavailable.value), "whoever uploads needn't know our hosts"


def _macaroon(identifier: str, key: bytes = b"k" * 32, caveat: str = "[3,\"42\"]") -> str:
    macaroon = Macaroon(location="index.example", identifier=identifier, key=key, version=2)
    macaroon.add_first_party_caveat(caveat)
    return "pypi-" + str(macaroon.serialize())
