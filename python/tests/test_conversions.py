"""Values into the contract's messages and back, without a service."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

import mintage
from mintage import _answers, _errors, _messages
from mintage._calls import Calls
from mintage.v1 import caveat_pb2, error_reason_pb2, publisher_pb2
from mintage.v1 import token_service_pb2 as pb

CAVEATS: list[mintage.Caveat] = [
    mintage.Expiration(-5, 2**62),
    mintage.ProjectNames(("a", "b")),
    mintage.ProjectNames(()),
    mintage.ProjectIds(("7",)),
    mintage.UserId("42"),
    mintage.UserId(""),
    mintage.PublisherId("11"),
    mintage.Uses(3, "nonce"),
    mintage.Versions(("1.0",)),
    mintage.Filenames(("a.whl",)),
    mintage.Digests((b"s" * 32,)),
    mintage.ClientNetworks(("192.0.2.0/24", "2001:db8::/32")),
    mintage.Actions(("upload",)),
    mintage.Unreadable(b"[5]"),
]


@pytest.mark.parametrize("caveat", CAVEATS, ids=repr)
def test_a_caveat_comes_back_as_it_went(caveat: mintage.Caveat) -> None:
    sent = _messages.caveat(caveat).SerializeToString()
    assert _answers.caveat(caveat_pb2.Caveat.FromString(sent)) == caveat


def test_every_caveat_of_the_contract_is_known() -> None:
    kinds = {field.name for field in caveat_pb2.Caveat.DESCRIPTOR.fields}
    assert {_messages.caveat(caveat).WhichOneof("kind") for caveat in CAVEATS} == kinds
    assert set(_answers._CAVEATS) == kinds


def test_every_reason_of_the_contract_is_known() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}
    assert {reason.value for reason in mintage.Reason} == names


def test_every_identity_of_the_contract_is_known() -> None:
    rules = (
        mintage.ClaimRule("sub", equals="a"),
        mintage.ClaimRule("sub", equals_ignore_case="a"),
        mintage.ClaimRule("sub", glob="a*"),
    )
    identities: list[Any] = [
        mintage.GitHub("o", "1", "r", "w.yml", "e", "2"),
        mintage.GitLab("n", "p", "w.yml", "e", "1", "2"),
        mintage.Google("a@example", "s"),
        mintage.ActiveState("o", "p", "a"),
        mintage.ClaimPolicy(rules),
    ]
    oneof = publisher_pb2.Publisher.DESCRIPTOR.oneofs_by_name["identity"]
    fields = {field.name for field in oneof.fields}
    assert {_identity(one).WhichOneof("identity") for one in identities} == fields
    for identity in identities[:-1]:
        message = getattr(_identity(identity), _identity(identity).WhichOneof("identity") or "")
        names = {field.name for field in message.DESCRIPTOR.fields}
        assert {name: getattr(message, name) for name in names} == dataclasses.asdict(identity)
    sent = [rule.WhichOneof("condition") for rule in _identity(identities[-1]).claims.rules]
    assert sent == ["equals", "equals_ignore_case", "glob"]


def test_an_empty_condition_of_a_claim_is_still_a_condition() -> None:
    policy = mintage.ClaimPolicy((mintage.ClaimRule("environment", equals=""),))
    assert _identity(policy).claims.rules[0].WhichOneof("condition") == "equals"


def test_what_is_neither_a_caveat_nor_an_identity_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        _messages.caveat("expiration")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _identity("octo/sampleproject")


def test_an_answer_of_a_newer_service_is_read_as_far_as_it_goes() -> None:
    newer = b"\xd2\x05\x00"  # field 90, empty: a kind of caveat from the future
    assert _answers.caveat(caveat_pb2.Caveat.FromString(newer)) == mintage.Unreadable(b"")
    answer = pb.VerifyResponse(verdict=pb.VERDICT_DENIED, denials=[pb.Denial(message="no")])
    answer.denials[0].reason = 99  # type: ignore[assignment]
    verification = _answers.verification(pb.VerifyResponse.FromString(answer.SerializeToString()))
    assert verification.denials == (mintage.Denial(mintage.Reason.UNSPECIFIED, "no"),)


@pytest.mark.parametrize("verdict", [pb.VERDICT_UNSPECIFIED, 3])
def test_a_verdict_of_no_known_meaning_is_no_answer(verdict: Any) -> None:
    with pytest.raises(mintage.Unavailable):
        _answers.verification(pb.VerifyResponse(verdict=verdict))


def test_only_the_verdict_allows() -> None:
    denied = pb.VerifyResponse(verdict=pb.VERDICT_DENIED, publisher_id="11")
    assert not _answers.verification(denied)
    assert _answers.verification(pb.VerifyResponse(verdict=pb.VERDICT_ALLOWED))


@pytest.mark.parametrize(
    "seconds, expected",
    [
        (0, datetime(1970, 1, 1, tzinfo=timezone.utc)),
        (2**62, datetime.max.replace(tzinfo=timezone.utc)),
        (-(2**62), datetime.min.replace(tzinfo=timezone.utc)),
    ],
)
def test_a_time_beyond_all_calendars_is_the_last_or_first_of_them(
    seconds: int, expected: datetime
) -> None:
    facts = pb.TokenFacts(expires_at=Timestamp(seconds=seconds))
    answer = pb.VerifyResponse(verdict=pb.VERDICT_DENIED, token=facts)
    token = _answers.verification(answer).token
    assert token is not None and token.expires_at == expected


def test_times_keep_their_microseconds() -> None:
    minted = pb.MintResponse(expires_at=Timestamp(seconds=1, nanos=999_999_999))
    expected = datetime(1970, 1, 1, 0, 0, 1, 999_999, tzinfo=timezone.utc)
    assert _answers.minted(minted).expires_at == expected


def test_claims_are_what_json_would_give() -> None:
    claims = {"n": None, "t": True, "f": 1.5, "i": 3, "s": "x", "l": [1, {"a": []}], "o": {}}
    identity = pb.Identity()
    identity.claims.update(claims)
    read = _answers.minted(pb.MintResponse(identity=identity)).identity
    assert read is not None and read.claims == claims
    assert type(read.claims["i"]) is int and type(read.claims["f"]) is float


def test_a_request_that_cannot_be_sent_is_refused_without_its_text() -> None:
    calls = Calls("pypi")
    secret = "pypi-secret\udcff"
    with pytest.raises(mintage.Refused) as refused:
        calls.attenuate(secret, [], None)
    seen: list[BaseException | None] = [refused.value]
    while seen[-1] is not None:
        assert "secret" not in repr(seen[-1])
        seen.append(seen[-1].__cause__ or seen[-1].__context__)
    assert refused.value.reason is mintage.Reason.REQUEST_INVALID
    for caveat in (mintage.Uses(-1), mintage.Expiration(0, 2**70)):
        with pytest.raises(mintage.Refused):
            calls.attenuate("pypi-AgE", [caveat], None)


def test_a_token_that_is_no_text_is_a_mistake_without_its_text() -> None:
    with pytest.raises(TypeError) as mistake:
        Calls("").attenuate(b"pypi-secret", [], None)  # type: ignore[arg-type]
    assert "secret" not in repr(mistake.value)


def test_a_user_agent_is_cut_between_characters() -> None:
    for agent in ("€" * 400, "a" + "€" * 400, "ab" + "€" * 400, "\udcff" * 600, "short"):
        sent = _messages.client(mintage.Requester(user_agent=agent)).user_agent
        assert len(sent.encode()) <= _messages.MAX_USER_AGENT_BYTES
        assert len(sent.encode()) > 500 or sent == "short"


def test_errors_can_be_pickled() -> None:
    refused = mintage.Refused(
        "no", reason=mintage.Reason.RATE_LIMITED, retry_after=2.5, field="token"
    )
    again = pickle.loads(pickle.dumps(refused))
    assert type(again) is mintage.Refused and vars(again) == vars(refused)
    assert isinstance(again, _errors.Error) and str(again) == "no"


def _identity(identity: Any) -> publisher_pb2.Publisher:
    return _messages.publisher(mintage.Publisher("11", "https://issuer.example", identity))
