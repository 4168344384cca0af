"""Tokens that Mintage mints for Warehouse: rows, identities, ends, and the way back."""

from __future__ import annotations

import dataclasses
import types
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import table
from mintage_warehouse import (
    InvalidMacaroonError,
    InvalidPublisherError,
    MintageMacaroonService,
    MintageOIDCPublisherService,
    ReusedTokenError,
    access_for,
    candidate,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

import mintage
from mintage import Reason
from mintage.tokens import Token

UPLOAD = "projects:upload"
USER = uuid.uuid4()


@dataclasses.dataclass
class Scope:
    """A caveat as Warehouse hands it over."""

    form: list[Any]

    def __serialize__(self) -> list[Any]:
        return self.form


@pytest.fixture
def oidc(
    db: Session, client: mintage.Client, issuer: Any
) -> Callable[[], MintageOIDCPublisherService]:
    """A service as each request gets a new one."""

    def look_up(claims: dict[str, Any], pending: bool) -> table.Publisher:
        owner, name = claims["repository"].split("/")
        kind = "pending_github_oidc_publishers" if pending else "github_oidc_publishers"
        wanted = select(table.Publisher).where(
            table.Publisher.discriminator == kind,
            table.Publisher.repository_owner == owner,
            table.Publisher.repository_name == name,
        )
        found = db.scalars(wanted).one_or_none()
        if found is None:
            raise InvalidPublisherError("All lookup strategies exhausted")
        return found

    def make() -> MintageOIDCPublisherService:
        return MintageOIDCPublisherService(
            client, issuer.url, look_up, request=table.Request(), index="pypi"
        )

    return make


def _exchanged(
    macaroons: MintageMacaroonService,
    oidc: MintageOIDCPublisherService,
    issuer: Any,
    id_token: str,
    request: table.Request,
) -> tuple[str, table.Macaroon]:
    """What Warehouse's view does with an ID token, but for events and mails."""
    claims = oidc.verify_jwt_signature(id_token, issuer.url)
    assert claims is not None
    publisher = oidc.find_publisher(claims)
    token, row = macaroons.create_macaroon(
        "pypi.org",
        "OpenID token: " + str(uuid.uuid4()),
        [],
        oidc_publisher_id=str(publisher.id),
        additional={"oidc": {"ref": claims["ref"], "sha": claims["sha"]}},
        id_token=id_token,
        publisher=oidc.candidate(publisher),
        request=request,
    )
    return token, row


def test_a_users_token_is_minted_and_found_and_ended(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    scopes = [Scope([1, ["sampleproject"]])]
    token, row = macaroons.create_macaroon("pypi.org", "laptop", scopes, user_id=USER)
    assert row.token_id == Token.parse(token).token_id
    assert row.permissions_caveat == {"permissions": {"projects": ["sampleproject"]}}
    assert [3, str(USER)] in row.caveats and [1, ["sampleproject"]] in row.caveats
    assert macaroons.find_from_raw(token) is row
    assert macaroons.find_userid(token) == USER
    assert macaroons.get_macaroon_by_description(USER, "laptop") is row
    assert macaroons.verify(token, table.Request(), project, UPLOAD)
    db.refresh(row)
    assert row.last_used is not None
    other = table.Project(name="other")
    with pytest.raises(InvalidMacaroonError) as refused:
        macaroons.verify(token, table.Request(), other, UPLOAD)
    # Once for what stands in the token, once for what is stored.
    assert set(refused.value.reasons) == {Reason.CAVEAT_PROJECT}
    macaroons.delete_macaroon(str(row.id), cause="deleted by its user")
    with pytest.raises(InvalidMacaroonError, match="deleted or nonexistent"):
        macaroons.verify(token, table.Request(), project, UPLOAD)


def test_a_deleted_token_stays_ended_should_its_row_come_back(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    token, row = macaroons.create_macaroon("pypi.org", "a", [], user_id=USER)
    token_id = row.token_id
    macaroons.delete_macaroon(str(row.id))
    table.add(db, user_id=USER, token_id=token_id)
    with pytest.raises(InvalidMacaroonError) as refused:
        macaroons.verify(token, table.Request(), project, UPLOAD)
    assert refused.value.reasons == (Reason.TOKEN_REVOKED,)


def test_a_leaked_token_is_deleted_while_mintage_is_down(
    db: Session, macaroons: MintageMacaroonService
) -> None:
    token, row = macaroons.create_macaroon("pypi.org", "leaked", [], user_id=USER)
    with mintage.Client("127.0.0.1:9", timeout=0.5) as nobody:
        cut_off = MintageMacaroonService(
            db, nobody, table.Macaroon, access_for(table.Project), index="pypi"
        )
        with pytest.raises(mintage.Unavailable):
            cut_off.verify(token, table.Request(), None, UPLOAD)
        cut_off.delete_macaroon(str(row.id))
    with pytest.raises(InvalidMacaroonError):
        macaroons.find_from_raw(token)


def test_a_restriction_that_is_stored_later_holds(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    token, row = macaroons.create_macaroon("pypi.org", "wide", [], user_id=USER)
    assert macaroons.verify(token, table.Request(), project, UPLOAD)
    row.caveats = [*row.caveats, [1, ["other"]]]
    db.flush()
    with pytest.raises(InvalidMacaroonError) as refused:
        macaroons.verify(token, table.Request(), project, UPLOAD)
    assert refused.value.reasons == (Reason.CAVEAT_PROJECT,)


def test_a_shadow_answers_alike_and_writes_nothing(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    token, row = macaroons.create_macaroon("pypi.org", "a", [], user_id=USER)
    kept = table.add(db, user_id=USER, caveats=[[1, ["other"]]])
    for asked, reasons in [
        (token, ()),
        (table.token(kept), (Reason.CAVEAT_PROJECT,)),
        (table.token(kept, key=b"x"), (Reason.TOKEN_SIGNATURE,)),
        ("pypi-x", (Reason.TOKEN_MALFORMED,)),
    ]:
        assert macaroons.shadow(asked, table.Request(), project, UPLOAD) == reasons
    db.refresh(row)
    assert row.last_used is None


def test_the_key_of_a_minted_row_signs_nothing(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    _, row = macaroons.create_macaroon("pypi.org", "a", [], user_id=USER)
    by_id = table.token(row, [3, str(USER)])
    by_token_id = table.token(row, [3, str(USER)], identifier=row.token_id)
    for forged, reason in [
        (by_id, Reason.TOKEN_REVOKED),
        (by_token_id, Reason.TOKEN_SIGNATURE),
    ]:
        with pytest.raises(InvalidMacaroonError) as refused:
            macaroons.verify(forged, table.Request(), project, UPLOAD)
        assert refused.value.reasons == (reason,)
    # Nor where Warehouse's own code looks for the row, which it does by id alone.
    assert macaroons.find_macaroon(row.token_id) is None


def test_a_row_of_another_subject_than_its_token_is_no_row(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    token, row = macaroons.create_macaroon("pypi.org", "a", [], user_id=USER)
    row.user_id = uuid.uuid4()
    row.caveats = []
    db.flush()
    with pytest.raises(InvalidMacaroonError, match="deleted or nonexistent"):
        macaroons.verify(token, table.Request(), project, UPLOAD)


def test_a_token_of_another_index_finds_no_row(
    macaroons: MintageMacaroonService, client: mintage.Client, project: table.Project
) -> None:
    elsewhere = client.mint_for_user(str(USER), index="example")
    with pytest.raises(InvalidMacaroonError, match="deleted or nonexistent"):
        macaroons.verify(elsewhere.token, table.Request(), project, UPLOAD)


def test_a_job_exchanges_its_id_token_and_uploads(
    macaroons: MintageMacaroonService,
    oidc: Any,
    issuer: Any,
    project: table.Project,
    publisher: table.Publisher,
) -> None:
    id_token = issuer.id_token("pypi")
    token, row = _exchanged(macaroons, oidc(), issuer, id_token, table.Request())
    assert row.oidc_publisher_id == publisher.id and row.user_id is None
    assert row.additional["oidc"]["ref"] == "refs/heads/main"
    assert [form[0] for form in row.caveats] == [4, 2, 0]
    assert macaroons.verify(token, table.Request(), project, UPLOAD)
    assert macaroons.find_userid(token) is None
    with pytest.raises(InvalidMacaroonError) as refused:
        macaroons.verify(token, table.Request(), table.Project(name="other"), UPLOAD)
    assert {Reason.CAVEAT_PUBLISHER, Reason.CAVEAT_PROJECT} == set(refused.value.reasons)


def test_an_id_token_is_redeemed_once_and_a_lost_answer_can_be_asked_for_again(
    macaroons: MintageMacaroonService,
    oidc: Any,
    issuer: Any,
    db: Session,
    publisher: table.Publisher,
) -> None:
    id_token = issuer.id_token("pypi")
    job = table.Request()
    db.commit()
    token, _ = _exchanged(macaroons, oidc(), issuer, id_token, job)
    # Warehouse's transaction failed after the redeeming, so the client asks again.
    db.rollback()
    again, row = _exchanged(macaroons, oidc(), issuer, id_token, job)
    assert (again == token, row.token_id) == (True, Token.parse(token).token_id)
    # It did not fail, but its answer was lost.
    db.commit()
    once_more, same_row = _exchanged(macaroons, oidc(), issuer, id_token, job)
    assert (once_more == token, same_row) == (True, row)
    with pytest.raises(ReusedTokenError):
        thief = table.Request(remote_addr="203.0.113.7")
        _exchanged(macaroons, oidc(), issuer, id_token, thief)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"exp": 1},
        {"repository_owner": None},
        {"aud": ["pypi"]},
        {"event_name": "pull_request_target"},
    ],
)
def test_an_id_token_that_is_not_in_order_has_no_claims(
    claims: dict[str, Any], oidc: Any, issuer: Any, publisher: table.Publisher
) -> None:
    id_token = issuer.id_token("pypi", **claims)
    assert oidc().verify_jwt_signature(id_token, issuer.url) is None


def test_claims_of_another_issuer_or_another_request_find_nothing(
    oidc: Any, issuer: Any, publisher: table.Publisher
) -> None:
    id_token = issuer.id_token("pypi")
    assert oidc().verify_jwt_signature(id_token, "https://gitlab.com") is None
    assert oidc().verify_jwt_signature(id_token + "x", issuer.url) is None
    first, second = oidc(), oidc()
    claims = first.verify_jwt_signature(id_token, issuer.url)
    assert claims["iat"] == int(claims["iat"])
    assert first.find_publisher(claims) is publisher
    for service in [second, first]:
        with pytest.raises(InvalidPublisherError):
            service.find_publisher(dict(claims))


def test_a_publisher_that_differs_is_told_by_its_claim(
    oidc: Any, issuer: Any, db: Session, publisher: table.Publisher
) -> None:
    publisher.environment = "release"
    db.flush()
    service = oidc()
    claims = service.verify_jwt_signature(issuer.id_token("pypi"), issuer.url)
    with pytest.raises(InvalidPublisherError, match="claim 'environment': expected 'release'"):
        service.find_publisher(claims)


def test_a_pending_publisher_matches_before_its_project_is_there(
    oidc: Any, issuer: Any, db: Session
) -> None:
    pending = table.Publisher(
        discriminator="pending_github_oidc_publishers", project_name="sampleproject"
    )
    db.add(pending)
    db.flush()
    service = oidc()
    claims = service.verify_jwt_signature(issuer.id_token("pypi"), issuer.url)
    assert service.find_publisher(claims, pending=True) is pending
    with pytest.raises(InvalidPublisherError):
        service.find_publisher(claims)


def test_a_project_on_another_gitlab_is_somebody_elses() -> None:
    columns = {"namespace": "n", "project": "p", "workflow_filepath": "f.yml", "environment": ""}
    row: Any = types.SimpleNamespace(id=1, discriminator="gitlab_oidc_publishers", **columns)
    assert candidate(row, "https://gitlab.com").issuer == "https://gitlab.com"
    row.issuer_url = "https://gitlab.example"
    assert candidate(row, "https://gitlab.com").issuer == "https://gitlab.example"


def test_a_restriction_that_mintage_lacks_is_not_dropped() -> None:
    columns = {"organization": "o", "activestate_project_name": "p", "actor_id": "a"}
    row = types.SimpleNamespace(id=1, discriminator="activestate_oidc_publishers", **columns)
    row.ingredient = "only-this"
    with pytest.raises(ValueError, match="ingredient"):
        candidate(row, "https://platform.activestate.com/api/v1/oauth/oidc")


def test_a_token_has_exactly_one_owner(macaroons: MintageMacaroonService) -> None:
    one = str(uuid.uuid4())
    for arguments in [{}, {"oidc_publisher_id": one}, {"oidc_publisher_id": one, "user_id": USER}]:
        with pytest.raises(TypeError):
            macaroons.create_macaroon("pypi.org", "a", [], **arguments)
    with pytest.raises(TypeError):
        scopes = [Scope([3, str(uuid.uuid4())])]
        macaroons.create_macaroon("pypi.org", "a", scopes, user_id=USER)


@pytest.mark.parametrize(
    ("kind", "columns", "identity"),
    [
        (
            "gitlab",
            {"namespace": "n", "project": "p", "workflow_filepath": "f.yml", "environment": ""},
            mintage.GitLab("n", "p", "f.yml"),
        ),
        ("google", {"email": "e@x", "sub": None}, mintage.Google("e@x")),
        (
            "activestate",
            {"organization": "o", "activestate_project_name": "p", "actor_id": "a"},
            mintage.ActiveState("o", "p", "a"),
        ),
    ],
)
def test_each_kind_of_publisher_has_its_candidate(
    kind: str, columns: dict[str, Any], identity: Any
) -> None:
    discriminator = f"{kind}_oidc_publishers"
    row: Any = types.SimpleNamespace(id=1, discriminator=discriminator, **columns)
    found = candidate(row, "https://issuer.example")
    assert (found.id, found.identity, found.projects) == ("1", identity, ())
    row.discriminator = "somebody_oidc_publishers"
    with pytest.raises(KeyError):
        candidate(row, "https://issuer.example")
