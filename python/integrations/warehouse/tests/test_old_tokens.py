"""Tokens in every form since 2019 verify with Warehouse's answers.

The cases below are written by hand: a row, a token, what Warehouse says, and the class of its
reason. `test_the_judgement_table` adds the 200 single caveats of tests/vectors/warehouse.json.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

import pymacaroons
import pytest
import table
import warehouse
from kit.places import REPOSITORY
from mintage_warehouse import InvalidMacaroonError, MintageMacaroonService
from sqlalchemy.orm import Session

from mintage import Reason

UPLOAD = "projects:upload"
V1, V2 = pymacaroons.MACAROON_V1, pymacaroons.MACAROON_V2
USER = uuid.UUID("aaaaaaaa-2222-3333-4444-555555555555")
LATER = int(time.time()) + 3600
EARLIER = int(time.time()) - 3600

NAMES = {"version": 1, "permissions": {"projects": ["sampleproject"]}}
OTHER_NAMES = {"version": 1, "permissions": {"projects": ["other"]}}
WHOLE_USER = {"version": 1, "permissions": "user"}
IN_TIME = {"nbf": EARLIER, "exp": LATER}
ENDED = {"nbf": EARLIER - 10, "exp": EARLIER}
OTHER_ID = str(uuid.uuid4())

# name, embedded caveats, stored caveats ({}: the column's default), reasons (none: allowed).
# The column came in January 2024, and rows were filled from what was known of their scope; since
# August 2026 it binds, and may be all that does.
# PROJECT and PUBLISHER stand for the ids of the test's own.
USERS: list[tuple[str, list[Any], Any, list[Reason]]] = [
    ("2019, the whole account", [WHOLE_USER], {}, []),
    ("2019, one project", [NAMES], {}, []),
    ("2019, the whole account, its row filled in 2024", [WHOLE_USER], [[3, str(USER)]], []),
    ("2019, one project, its row filled in 2024", [NAMES], [[1, ["sampleproject"]]], []),
    ("2019, another project", [OTHER_NAMES], {}, [Reason.CAVEAT_PROJECT]),
    ("2019, narrowed with pypitoken", [WHOLE_USER, NAMES, IN_TIME], {}, []),
    ("2019, narrowed to another", [WHOLE_USER, OTHER_NAMES], {}, [Reason.CAVEAT_PROJECT]),
    (
        "2019, of no known version",
        [{"version": 2, "permissions": "user"}],
        {},
        [Reason.CAVEAT_UNREADABLE],
    ),
    ("2021, with times", [NAMES, IN_TIME], {}, []),
    ("2021, ended", [NAMES, ENDED], {}, [Reason.CAVEAT_EXPIRED]),
    ("2021, not yet", [NAMES, {"nbf": LATER, "exp": LATER + 9}], {}, [Reason.CAVEAT_NOT_YET_VALID]),
    ("2022, project ids", [{"project_ids": ["PROJECT"]}], {}, []),
    ("2022, other ids", [{"project_ids": [OTHER_ID]}], {}, [Reason.CAVEAT_PROJECT]),
    ("2022, two reasons", [OTHER_NAMES, ENDED], {}, [Reason.CAVEAT_PROJECT, Reason.CAVEAT_EXPIRED]),
    ("2024, tags", [[1, ["sampleproject"]]], [[1, ["sampleproject"]]], []),
    ("2024, the user", [[3, str(USER)]], [[3, str(USER)]], []),
    (
        "2024, another user",
        [[3, OTHER_ID]],
        [[3, OTHER_ID]],
        [Reason.CAVEAT_USER, Reason.CAVEAT_USER],
    ),
    ("2023, a tag that isn't known", [[5, "x"]], {}, [Reason.CAVEAT_UNREADABLE]),
    ("2023, tags beside the old forms", [NAMES, [0, LATER, EARLIER], [3, str(USER)]], {}, []),
    ("2026, nothing embedded", [], [[1, ["sampleproject"]]], []),
    ("2026, nothing embedded, the user", [], [[3, str(USER)]], []),
    ("2026, nothing embedded, another project", [], [[1, ["other"]]], [Reason.CAVEAT_PROJECT]),
    ("2026, narrowed by its holder", [[0, EARLIER, 0]], [[3, str(USER)]], [Reason.CAVEAT_EXPIRED]),
    ("2026, the old forms stored", [], [WHOLE_USER, NAMES, IN_TIME], []),
    ("2026, the old forms stored, ended", [], [NAMES, ENDED], [Reason.CAVEAT_EXPIRED]),
    ("2026, ids stored", [], [{"project_ids": [OTHER_ID]}], [Reason.CAVEAT_PROJECT]),
    (
        "2026, a publisher's caveat for a user",
        [],
        [[4, "PUBLISHER", None]],
        [Reason.CAVEAT_PUBLISHER],
    ),
    ("none at all", [], {}, []),
    ("an empty list stored", [], [], []),
]

PUBLISHERS: list[tuple[str, list[Any], Any, list[Reason]]] = [
    ("2022, ids and times", [{"project_ids": ["PROJECT"]}, IN_TIME], {}, []),
    (
        "2022, ids and times, its row filled in 2024",
        [{"project_ids": ["PROJECT"]}, IN_TIME],
        [],
        [],
    ),
    (
        "2024, as Warehouse minted them",
        [[4, "PUBLISHER"], [2, ["PROJECT"]], [0, LATER, EARLIER]],
        [[4, "PUBLISHER", None], [2, ["PROJECT"]], [0, LATER, EARLIER]],
        [],
    ),
    ("2023, with claims", [[4, "PUBLISHER", {"ref": "refs/heads/main", "sha": "abc"}]], {}, []),
    ("2023, ended", [[4, "PUBLISHER"], [0, EARLIER, 0]], {}, [Reason.CAVEAT_EXPIRED]),
    ("2023, another publisher", [[4, OTHER_ID]], {}, [Reason.CAVEAT_PUBLISHER]),
    ("2023, other projects", [[4, "PUBLISHER"], [2, [OTHER_ID]]], {}, [Reason.CAVEAT_PROJECT]),
    (
        "2026, nothing embedded",
        [],
        [[4, "PUBLISHER", None], [2, ["PROJECT"]], [0, LATER, EARLIER]],
        [],
    ),
    (
        "2026, nothing embedded, ended",
        [],
        [[4, "PUBLISHER", None], [2, ["PROJECT"]], [0, EARLIER, 0]],
        [Reason.CAVEAT_EXPIRED],
    ),
    ("2019, a user's permissions", [WHOLE_USER], {}, [Reason.CAVEAT_USER]),
    ("2026, a user's permissions stored", [], [WHOLE_USER], [Reason.CAVEAT_USER]),
    ("2023, a user's caveat", [[3, "PUBLISHER"]], {}, [Reason.CAVEAT_USER]),
]


def _filled(value: Any, project: table.Project, publisher: table.Publisher) -> Any:
    text = json.dumps(value).replace('"PROJECT"', f'"{project.id}"')
    return json.loads(text.replace('"PUBLISHER"', f'"{publisher.id}"'))


def _warehouse_allows(
    caveats: list[Any], subject: dict[str, str], project: table.Project, publisher: table.Publisher
) -> bool:
    """The model of Warehouse's rules that the vectors are held to."""
    access = {
        "now_micros": int(time.time() * 1_000_000),
        "subject": subject,
        "project": {"name": project.name, "id": str(project.id)},
        "publisher_ids": [str(publisher.id)],
    }
    return all(warehouse.allows(table.predicate(one).encode(), access) for one in caveats)


def _answer(
    macaroons: MintageMacaroonService, token: str, context: Any, permission: str = UPLOAD
) -> list[Reason]:
    """The reasons for a no; none of them for a yes."""
    try:
        assert macaroons.verify(token, table.Request(), context, permission) is True
    except InvalidMacaroonError as error:
        assert error.reasons, str(error)
        assert "pypi-" not in str(error)
        return list(error.reasons)
    return []


@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize(("name", "embedded", "stored", "reasons"), USERS)
def test_a_users_token_gets_warehouses_answer(
    name: str,
    embedded: Any,
    stored: Any,
    reasons: Any,
    version: int,
    macaroons: MintageMacaroonService,
    db: Session,
    project: table.Project,
    publisher: table.Publisher,
) -> None:
    embedded, stored = (_filled(value, project, publisher) for value in (embedded, stored))
    row = table.add(db, user_id=USER, caveats=stored)
    token = table.token(row, *embedded, version=version)
    assert _answer(macaroons, token, project) == reasons
    subject = {"user": str(USER)}
    allowed = _warehouse_allows([*embedded, *stored], subject, project, publisher)
    assert allowed == (not reasons)
    db.refresh(row)
    assert (row.last_used is not None) == (not reasons)


@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize(("name", "embedded", "stored", "reasons"), PUBLISHERS)
def test_a_publishers_token_gets_warehouses_answer(
    name: str,
    embedded: Any,
    stored: Any,
    reasons: Any,
    version: int,
    macaroons: MintageMacaroonService,
    db: Session,
    project: table.Project,
    publisher: table.Publisher,
) -> None:
    embedded, stored = (_filled(value, project, publisher) for value in (embedded, stored))
    claims = {"oidc": {"ref": "refs/heads/main", "sha": "abc"}}
    row = table.add(db, oidc_publisher_id=publisher.id, caveats=stored, additional=claims)
    token = table.token(row, *embedded, version=version)
    assert _answer(macaroons, token, project) == reasons
    subject = {"publisher": str(publisher.id)}
    allowed = _warehouse_allows([*embedded, *stored], subject, project, publisher)
    assert allowed == (not reasons)


def test_a_publisher_that_was_taken_off_the_project_uploads_no_more(
    macaroons: MintageMacaroonService,
    db: Session,
    project: table.Project,
    publisher: table.Publisher,
) -> None:
    row = table.add(db, oidc_publisher_id=publisher.id, caveats=[[4, str(publisher.id), None]])
    token = table.token(row)
    assert _answer(macaroons, token, project) == []
    project.oidc_publishers.clear()
    db.flush()
    assert _answer(macaroons, token, project) == [Reason.CAVEAT_PUBLISHER]


def test_a_scoped_token_is_good_for_nothing_that_is_no_project(
    macaroons: MintageMacaroonService, db: Session
) -> None:
    for scoped, reasons in [(NAMES, [Reason.CAVEAT_PROJECT]), (WHOLE_USER, [])]:
        token = table.token(table.add(db, user_id=USER), scoped)
        assert _answer(macaroons, token, None, "api:echo") == reasons


def test_a_token_whose_row_is_gone_is_gone(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    row = table.add(db, user_id=USER)
    token = table.token(row, WHOLE_USER)
    assert _answer(macaroons, token, project) == []
    macaroons.delete_macaroon(str(row.id))
    assert _answer(macaroons, token, project) == [Reason.TOKEN_REVOKED]
    with pytest.raises(InvalidMacaroonError, match="deleted or nonexistent macaroon"):
        macaroons.find_from_raw(token)
    assert macaroons.find_userid(token) is None


def test_a_token_of_another_key_is_refused(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    row, other = table.add(db, user_id=USER), table.add(db, user_id=uuid.uuid4())
    for forged in [
        table.token(row, WHOLE_USER, key=b"x" * 32),
        table.token(row, WHOLE_USER, key=other.key),
        table.token(row, WHOLE_USER, key=other.key, identifier=str(row.id)),
    ]:
        assert _answer(macaroons, forged, project) == [Reason.TOKEN_SIGNATURE]
        with pytest.raises(InvalidMacaroonError):
            macaroons.verify_signature_only(forged)
    assert macaroons.verify_signature_only(table.token(row, ENDED)).id == row.id


@pytest.mark.parametrize("damaged", ["", "pypi-", "pypi-AgE", "other-AgE", "-", "pypi-%%%", None])
def test_what_is_no_token_is_malformed(
    damaged: str | None, macaroons: MintageMacaroonService, project: table.Project
) -> None:
    with pytest.raises(InvalidMacaroonError) as refused:
        macaroons.verify(damaged, table.Request(), project, UPLOAD)
    assert refused.value.reasons == (Reason.TOKEN_MALFORMED,)


def test_other_spellings_of_a_rows_id_find_no_row(
    macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    row = table.add(db, user_id=USER)
    for spelling in [row.id.hex, str(row.id).upper(), f"{{{row.id}}}", f"urn:uuid:{row.id}", "é"]:
        reasons = _answer(macaroons, table.token(row, identifier=spelling), project)
        assert reasons in ([Reason.TOKEN_REVOKED], [Reason.TOKEN_MALFORMED]), spelling


@pytest.mark.parametrize(
    "stored",
    [
        [[5, "x"]],
        [[]],
        [["1", ["sampleproject"]]],
        [[True, ["sampleproject"]]],
        [None],
        ["x"],
        [[1, "sampleproject"]],
        [[1, ["sampleproject"], ["1.0"]]],
        [[0, 2**63, 0]],
        [[0, 1.5, 0]],
        [[3, ""]],
        [[3, None]],
        [{"project_ids": ["a"], "x": 1}],
        {"a": 1},
        "x",
        [[64, "n", 1]],
        [{"version": 1, "permissions": "admin"}],
    ],
)
def test_a_stored_caveat_that_cannot_be_read_denies(
    stored: Any, macaroons: MintageMacaroonService, db: Session, project: table.Project
) -> None:
    row = table.add(db, user_id=USER, caveats=stored)
    assert _answer(macaroons, table.token(row), project) == [Reason.CAVEAT_UNREADABLE]


def _judgements() -> list[Any]:
    vectors = REPOSITORY / "tests" / "vectors" / "warehouse.json"
    now = 1_700_000_000
    rows = json.loads(vectors.read_text())["rows"]
    # The service's clock can't be set: times move with the table, its last microseconds stay out.
    # pymacaroons can't write what isn't UTF-8; Mintage's own tests cover these rows.
    return [
        row
        for row in rows
        if row["access"]["now_micros"] == now * 1_000_000
        and all("text" in caveat for caveat in row["caveats"])
    ]


def _shifted(text: str) -> str:
    now = int(time.time())

    def shift(found: re.Match[str]) -> str:
        return str(now + 1_000 * (int(found[0]) - 1_700_000_000))

    return re.sub(r"\b(1700000\d{3}|16999999\d{2})\b", shift, text)


@pytest.mark.parametrize("row", _judgements(), ids=lambda row: row["name"])
def test_the_judgement_table(
    row: dict[str, Any], macaroons: MintageMacaroonService, db: Session
) -> None:
    access = row["access"]
    said = access["project"]
    context = None
    if said is not None:
        context = table.Project(id=uuid.UUID(said["id"]), name=said["name"])
        context.oidc_publishers = [
            table.Publisher(id=uuid.UUID(one)) for one in access["publisher_ids"]
        ]
        db.add(context)
        db.flush()
    stored = [json.loads(_shifted(one["text"])) for one in row["stored"]]
    columns = {"user": "user_id", "publisher": "oidc_publisher_id"}
    subject = {columns[kind]: uuid.UUID(one) for kind, one in access["subject"].items()}
    record = table.add(db, caveats=stored or {}, **subject)
    token = table.token(record, *(_shifted(one["text"]) for one in row["caveats"]))
    reasons = [one["reason"] for one in row["reasons"]]
    assert _answer(macaroons, token, context) == reasons
    if row["warehouse"] == "deny":
        assert reasons, "what Warehouse denies is never allowed"
