"""Mintage and the libraries that everybody else reads tokens with, live.

What is kept in tests/vectors/ is shown here against the running service, over
gRPC, in both directions.
"""

import time
import uuid

import grpc
import pymacaroons
import pypitoken
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from mintage.v1 import caveat_pb2, error_reason_pb2, publisher_pb2, token_service_pb2

from conftest import AUDIENCE, INDEX, LOCATION
from make_vectors import RESTRICTIONS, hold, root_key_of

PROJECT_ID = "11111111-2222-3333-4444-555555555555"
USER = "aaaaaaaa-2222-3333-4444-555555555555"
PUBLISHER = "bbbbbbbb-2222-3333-4444-555555555555"
KEPT_KEY = b"a key that the index kept for itself"

ALLOWED = token_service_pb2.VERDICT_ALLOWED
DENIED = token_service_pb2.VERDICT_DENIED


# Calls, as an index makes them.


def mint_for_user(mintage, *caveats, lifetime=None):
    request = token_service_pb2.MintRequest(
        index=INDEX, user=token_service_pb2.User(user_id=USER), caveats=caveats
    )
    if lifetime is not None:
        request.lifetime.CopyFrom(duration_pb2.Duration(seconds=lifetime))
    return mintage.service.Mint(request, timeout=10)


def mint_for_publisher(mintage, issuer, **more):
    publisher = publisher_pb2.Publisher(
        id=PUBLISHER,
        issuer=issuer.url,
        projects=[publisher_pb2.Project(id=PROJECT_ID, name="sampleproject")],
        github=publisher_pb2.GitHub(
            repository_owner="octo",
            repository_owner_id="1",
            repository_name="sampleproject",
            workflow_filename="release.yml",
        ),
    )
    proof = token_service_pb2.TrustedPublishing(
        id_token=issuer.id_token(AUDIENCE), candidates=[publisher]
    )
    request = token_service_pb2.MintRequest(index=INDEX, trusted_publishing=proof, **more)
    return mintage.service.Mint(request, timeout=10)


def verify(mintage, token, *, project="sampleproject", publishers=(), kept=None, **access):
    upload_token = token_service_pb2.UploadToken(
        token=token,
        access=token_service_pb2.Access(
            project=publisher_pb2.Project(id=PROJECT_ID, name=project),
            publisher_ids=publishers,
            **access,
        ),
        kept=kept,
    )
    request = token_service_pb2.VerifyRequest(index=INDEX, upload_token=upload_token)
    return mintage.service.Verify(request, timeout=10)


def kept_for_user(key, user=USER):
    return token_service_pb2.KeptToken(
        root_key=key, subject=token_service_pb2.Subject(user_id=user)
    )


def reasons(answer):
    return [error_reason_pb2.ErrorReason.Name(denial.reason).removeprefix("ERROR_REASON_")
            for denial in answer.denials]


def assert_allowed(answer):
    assert answer.verdict == ALLOWED, answer
    assert not answer.denials


def assert_denied(answer, *expected):
    assert answer.verdict == DENIED, answer
    assert reasons(answer) == list(expected), answer


def root_key(mintage, identifier):
    """The root key as anybody with the master key derives it."""
    key_id = identifier.split(".")[1]
    return root_key_of(mintage.master_keys[key_id], INDEX, identifier)


def macaroon_of(token):
    prefix, body = token.split("-", 1)
    assert prefix == "pypi" and "=" not in body
    return pymacaroons.Macaroon.deserialize(body)


def predicates(macaroon):
    return [caveat.caveat_id_bytes.decode() for caveat in macaroon.caveats]


# What Mintage mints.


def test_a_users_token_is_read_and_verified_by_pymacaroons(mintage):
    minted = mint_for_user(mintage, lifetime=3600)
    macaroon = macaroon_of(minted.token)
    identifier = macaroon.identifier_bytes.decode()
    assert macaroon.version == pymacaroons.MACAROON_V2
    assert macaroon.location == LOCATION
    assert identifier.startswith("m1.") and identifier.endswith(f".u:{USER}")
    assert predicates(macaroon)[0] == f'[3,"{USER}"]'
    assert hold(macaroon, root_key(mintage, identifier))
    assert not hold(macaroon, b"another key")


def test_a_users_token_is_read_and_checked_by_pypitoken(mintage):
    minted = mint_for_user(mintage, lifetime=3600)
    token = pypitoken.Token.load(minted.token)
    key = root_key(mintage, token.identifier)
    assert (token.prefix, token.domain) == ("pypi", LOCATION)
    kinds = [type(restriction) for restriction in token.restrictions]
    assert kinds == [pypitoken.UserIDRestriction, pypitoken.DateRestriction]
    token.check(key=key, user_id=USER, project_name="anything")
    for wrong in ({"user_id": "somebody else"}, {"user_id": USER, "now": int(time.time()) + 3700}):
        with pytest.raises(pypitoken.ValidationError):
            token.check(key=key, project_name="anything", **wrong)


def test_every_caveat_that_can_be_asked_for_is_signed_as_pymacaroons_signs_it(mintage):
    now = int(time.time())
    minted = mint_for_user(
        mintage,
        caveat_pb2.Caveat(expiration=caveat_pb2.Expiration(not_before=now - 30, expires_at=now + 900)),
        caveat_pb2.Caveat(project_names=caveat_pb2.ProjectNames(names=["Sample_Project"])),
        caveat_pb2.Caveat(project_ids=caveat_pb2.ProjectIds(ids=[PROJECT_ID])),
        caveat_pb2.Caveat(uses=caveat_pb2.Uses(count=3)),
        caveat_pb2.Caveat(versions=caveat_pb2.Versions(versions=["1.0"])),
        caveat_pb2.Caveat(filenames=caveat_pb2.Filenames(filenames=["a-1.0.tar.gz"])),
        caveat_pb2.Caveat(digests=caveat_pb2.Digests(sha256=[b"\xab" * 32])),
        caveat_pb2.Caveat(client_networks=caveat_pb2.ClientNetworks(networks=["192.0.2.0/24"])),
        caveat_pb2.Caveat(actions=caveat_pb2.Actions(actions=["upload"])),
    )
    macaroon = macaroon_of(minted.token)
    assert hold(macaroon, root_key(mintage, macaroon.identifier_bytes.decode()))
    written = predicates(macaroon)
    assert {text.split(",")[0] for text in written} == {f"[{tag}" for tag in (0, 1, 2, 3, *range(64, 70))}
    assert '[1,["sample-project"]]' in written
    assert f'[67,["{"ab" * 32}"]]' in written


def test_a_publishers_token_carries_pypis_caveats_in_pypis_order(mintage, issuer):
    minted = mint_for_publisher(mintage, issuer)
    macaroon = macaroon_of(minted.token)
    identifier = macaroon.identifier_bytes.decode()
    assert identifier.endswith(f".p:{PUBLISHER}")
    publisher, projects, expiration = predicates(macaroon)
    assert publisher == f'[4,"{PUBLISHER}"]'
    assert projects == f'[2,["{PROJECT_ID}"]]'
    assert expiration.startswith("[0,")
    assert hold(macaroon, root_key(mintage, identifier))
    assert_allowed(verify(mintage, minted.token, publishers=[PUBLISHER]))
    assert_denied(verify(mintage, minted.token), "CAVEAT_PUBLISHER")


def test_a_token_is_bound_to_its_index(mintage):
    macaroon = macaroon_of(mint_for_user(mintage).token)
    identifier = macaroon.identifier_bytes.decode()
    master_key = mintage.master_keys[identifier.split(".")[1]]
    assert hold(macaroon, root_key_of(master_key, INDEX, identifier))
    assert not hold(macaroon, root_key_of(master_key, "another", identifier))


# What others narrow.


NARROWINGS = [
    ("to the project", {"project_names": ["sampleproject"]}, ()),
    ("to another project", {"project_names": ["other"]}, ("CAVEAT_PROJECT",)),
    ("to the project's id", {"project_ids": [PROJECT_ID]}, ()),
    ("to another id", {"project_ids": [PROJECT_ID.replace("1", "9")]}, ("CAVEAT_PROJECT",)),
    ("to the user", {"user_id": USER}, ()),
    ("to another user", {"user_id": PUBLISHER}, ("CAVEAT_USER",)),
    ("to a time", {"not_before": 1, "not_after": 1 << 40}, ()),
    ("to a time that is over", {"not_before": 1, "not_after": 2}, ("CAVEAT_EXPIRED",)),
    ("to a time to come", {"not_before": 1 << 40, "not_after": 1 << 41}, ("CAVEAT_NOT_YET_VALID",)),
    ("to the project, the old way", {"legacy_project_names": ["sampleproject"]}, ()),
    ("to another project, the old way", {"legacy_project_names": ["other"]}, ("CAVEAT_PROJECT",)),
    ("to a time, the old way", {"legacy_not_before": 1, "legacy_not_after": 1 << 40}, ()),
    ("to a time that is over, the old way", {"legacy_not_before": 1, "legacy_not_after": 2}, ("CAVEAT_EXPIRED",)),
    ("to nothing, the old way", {"legacy_noop": True}, ()),
    ("to all of it wrong", {"not_before": 1, "not_after": 2, "project_names": ["other"], "user_id": PUBLISHER},
     ("CAVEAT_EXPIRED", "CAVEAT_PROJECT", "CAVEAT_USER")),
]


@pytest.mark.parametrize("restrictions, expected", [n[1:] for n in NARROWINGS], ids=[n[0] for n in NARROWINGS])
def test_a_token_that_pypitoken_narrowed_is_judged_rightly(mintage, restrictions, expected):
    token = pypitoken.Token.load(mint_for_user(mintage).token)
    answer = verify(mintage, token.restrict(**restrictions).dump())
    assert_denied(answer, *expected) if expected else assert_allowed(answer)


def test_a_token_that_pymacaroons_narrowed_is_judged_rightly(mintage, issuer):
    token = mint_for_publisher(mintage, issuer).token
    for narrowing, expected in [
        ('[66,["sampleproject-1.0.tar.gz"]]', ()),
        ('[66,["sampleproject-2.0.tar.gz"]]', ("CAVEAT_FILENAME",)),
        ('[65,["1.0.0"]]', ()),
        ('[1, ["sampleproject"]]', ()),
        ("[9999]", ("CAVEAT_UNREADABLE",)),
        ("not JSON", ("CAVEAT_UNREADABLE",)),
    ]:
        macaroon = macaroon_of(token).add_first_party_caveat(narrowing)
        answer = verify(
            mintage, f"pypi-{macaroon.serialize()}", publishers=[PUBLISHER],
            filename="sampleproject-1.0.tar.gz", version="1.0",
        )
        assert_denied(answer, *expected) if expected else assert_allowed(answer)


def test_a_caveat_that_was_taken_away_again_breaks_the_signature(mintage):
    macaroon = macaroon_of(mint_for_user(mintage, lifetime=3600).token)
    macaroon.caveats.pop()
    assert_denied(verify(mintage, f"pypi-{macaroon.serialize()}"), "TOKEN_SIGNATURE")


def test_what_mintage_narrows_is_verified_by_pymacaroons(mintage):
    minted = mint_for_user(mintage)
    request = token_service_pb2.AttenuateRequest(
        index=INDEX,
        token=minted.token,
        caveats=[caveat_pb2.Caveat(filenames=caveat_pb2.Filenames(filenames=["a-1.0.tar.gz"]))],
    )
    narrowed = macaroon_of(mintage.service.Attenuate(request, timeout=10).token)
    by_hand = macaroon_of(minted.token).add_first_party_caveat('[66,["a-1.0.tar.gz"]]')
    assert narrowed.signature == by_hand.signature
    assert hold(narrowed, root_key(mintage, narrowed.identifier_bytes.decode()))


def test_what_mintage_narrows_for_another_maker_is_verified_by_pypitoken(mintage):
    foreign = pypitoken.Token.create(domain="pypi.org", identifier=str(uuid.uuid4()), key=KEPT_KEY)
    request = token_service_pb2.AttenuateRequest(
        index=INDEX,
        token=foreign.dump(),
        caveats=[caveat_pb2.Caveat(project_names=caveat_pb2.ProjectNames(names=["Sample.Project"]))],
    )
    narrowed = pypitoken.Token.load(mintage.service.Attenuate(request, timeout=10).token)
    narrowed.check(key=KEPT_KEY, project_name="sample-project")
    with pytest.raises(pypitoken.ValidationError):
        narrowed.check(key=KEPT_KEY, project_name="other")


# What others made, and the index kept the key for.


def _current(restrictions):
    """The restrictions of the vectors, moved to the present."""
    now = int(time.time())
    times = {"not_before": now - 30, "not_after": now + 900}
    times |= {f"legacy_{name}": moment for name, moment in times.items()}
    return {name: times.get(name, value) for name, value in restrictions.items()}


@pytest.mark.parametrize("version", [pymacaroons.MACAROON_V1, pymacaroons.MACAROON_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("restrictions", [r[1] for r in RESTRICTIONS], ids=[r[0] for r in RESTRICTIONS])
def test_a_kept_token_of_pypitoken_verifies_with_every_restriction(mintage, restrictions, version):
    identifier = str(uuid.uuid4())
    token = pypitoken.Token.create(
        domain="pypi.org", identifier=identifier, key=KEPT_KEY, version=version
    ).restrict(**_current(restrictions))
    answer = verify(mintage, token.dump(), kept=kept_for_user(KEPT_KEY))
    assert_allowed(answer)
    assert answer.token.token_id == identifier
    assert answer.token.subject.user_id == USER
    assert answer.token.key_id == ""
    assert not answer.token.HasField("minted_at")


@pytest.mark.parametrize("version", [pymacaroons.MACAROON_V1, pymacaroons.MACAROON_V2], ids=["v1", "v2"])
def test_a_kept_token_is_judged_for_the_subject_that_the_index_names(mintage, version):
    token = pypitoken.Token.create(
        domain="pypi.org", identifier=str(uuid.uuid4()), key=KEPT_KEY, version=version
    ).restrict(user_id=USER, project_names=["sampleproject"])
    assert_allowed(verify(mintage, token.dump(), kept=kept_for_user(KEPT_KEY)))
    assert_denied(verify(mintage, token.dump(), kept=kept_for_user(KEPT_KEY, "another")), "CAVEAT_USER")
    assert_denied(verify(mintage, token.dump(), project="other", kept=kept_for_user(KEPT_KEY)), "CAVEAT_PROJECT")
    assert_denied(verify(mintage, token.dump(), kept=kept_for_user(b"another key")), "TOKEN_SIGNATURE")


@pytest.mark.parametrize("version", [pymacaroons.MACAROON_V1, pymacaroons.MACAROON_V2], ids=["v1", "v2"])
def test_a_kept_token_of_pymacaroons_verifies_padded_or_not(mintage, version):
    for length in range(3):
        macaroon = pymacaroons.Macaroon(
            location="", identifier="i" * (length + 1), key=KEPT_KEY, version=version
        ).add_first_party_caveat('[1, ["sampleproject"]]')
        text = f"pypi-{macaroon.serialize()}"
        padded = text + "=" * (-(len(text) - len("pypi-")) % 4)
        assert_allowed(verify(mintage, text, kept=kept_for_user(KEPT_KEY)))
        assert_allowed(verify(mintage, padded, kept=kept_for_user(KEPT_KEY)))


@pytest.mark.parametrize("version", [pymacaroons.MACAROON_V1, pymacaroons.MACAROON_V2], ids=["v1", "v2"])
def test_a_third_partys_caveat_is_read_and_denied(mintage, version):
    macaroon = pymacaroons.Macaroon(location="l", identifier="i", key=KEPT_KEY, version=version)
    macaroon.add_third_party_caveat("https://third.example", "a shared key", "an id")
    answer = verify(mintage, f"pypi-{macaroon.serialize()}", kept=kept_for_user(KEPT_KEY))
    assert_denied(answer, "CAVEAT_UNREADABLE")


def test_the_json_form_is_denied(mintage):
    macaroon = pymacaroons.Macaroon(location="l", identifier="i", key=KEPT_KEY, version=2)
    serializer = pymacaroons.serializers.JsonSerializer()
    answer = verify(mintage, f"pypi-{macaroon.serialize(serializer)}", kept=kept_for_user(KEPT_KEY))
    assert_denied(answer, "TOKEN_MALFORMED")


# The wire itself, as Python sees it.


def test_a_refusal_carries_its_reason_in_error_info(mintage):
    with pytest.raises(grpc.RpcError) as caught:
        mintage.service.Attenuate(token_service_pb2.AttenuateRequest(index=INDEX, token="nonsense"), timeout=10)
    trailers = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details), status
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert info.domain == "mintage.v1"
    assert info.reason in ("TOKEN_MALFORMED", "REQUEST_INVALID")


def test_an_id_token_is_redeemed_once(mintage, issuer):
    publisher = publisher_pb2.Publisher(
        id=PUBLISHER,
        issuer=issuer.url,
        projects_at_use=True,
        github=publisher_pb2.GitHub(
            repository_owner="Octo",
            repository_owner_id="1",
            repository_name="SampleProject",
            workflow_filename="release.yml",
        ),
    )
    proof = token_service_pb2.TrustedPublishing(id_token=issuer.id_token(AUDIENCE), candidates=[publisher])
    request = token_service_pb2.MintRequest(index=INDEX, trusted_publishing=proof)
    mintage.service.Mint(request, timeout=10)
    with pytest.raises(grpc.RpcError) as caught:
        mintage.service.Mint(request, timeout=10)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
