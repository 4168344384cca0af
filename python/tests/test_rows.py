"""Publishers in a database's rows: what is written is read again, and whom claims lead to."""

from __future__ import annotations

import pytest

from mintage import (
    ActiveState,
    ClaimPolicy,
    ClaimRule,
    GitHub,
    GitLab,
    Google,
    ProviderIdentity,
    Publisher,
)
from mintage.rows import (
    MAX_CANDIDATES,
    identity,
    likeliest,
    of_text,
    owner,
    owners,
    to_text,
)

GITHUB = GitHub("Octo", "1", "Sample", "release.yml", environment="release")
RULES = (ClaimRule("repo", equals="octo/sample"), ClaimRule("ref", glob="refs/tags/*"))

IDENTITIES: list[tuple[ProviderIdentity, str]] = [
    (GITHUB, "octo"),
    (GitHub("octo", "1", "sample", "release.yml", repository_id="9"), "octo"),
    (GitLab("Group/Sub", "sample", ".gitlab-ci.yml"), "group/sub"),
    (Google("Robot@example.org", subject="12"), "robot@example.org"),
    (ActiveState("Org", "sample", "actor"), "org"),
    (ClaimPolicy(RULES), ""),
]


@pytest.mark.parametrize(("one", "its_owner"), IDENTITIES)
def test_an_identity_comes_back_from_its_text(one: ProviderIdentity, its_owner: str) -> None:
    assert of_text(to_text(one)) == one
    assert owner(one) == its_owner


def test_equal_identities_have_one_text_and_others_another() -> None:
    texts = [to_text(one) for one, _ in IDENTITIES]
    assert len(set(texts)) == len(texts)
    assert to_text(GitHub(environment="release", **_required())) == to_text(GITHUB)


def _required() -> dict[str, str]:
    return {
        "workflow_filename": "release.yml",
        "repository_name": "Sample",
        "repository_owner_id": "1",
        "repository_owner": "Octo",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"github": {}}',
        '{"githup": {}}',
        '{"google": {"email": "a@b"}, "gitlab": {}}',
        '{"google": {"email": "a@b", "enviroment": "release"}}',
        '{"google": {"email": ""}}',
        '{"google": {"email": 1}}',
        '{"claims": []}',
        '{"claims": [{"claim": "a"}]}',
        '{"claims": [{"claim": "a", "equal": "b"}]}',
    ],
)
def test_a_text_that_lost_a_restriction_is_no_identity(text: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        of_text(text)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="`github` lacks repository_owner_id"):
        identity("github", {k: v for k, v in _required().items() if k != "repository_owner_id"})


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"repository": "Octo/Sample"}, "octo"),
        ({"project_path": "Group/Sub/sample", "email": "x"}, "group/sub"),
        ({"email": "Robot@example.org"}, "robot@example.org"),
        ({"organization": "Org", "project": "sample"}, "org"),
        ({"anything": "else"}, ""),
        ({"repository": 7, "email": None}, ""),
        ({"repository": "no-slash"}, ""),
    ],
)
def test_claims_lead_to_their_owners_rows_and_to_those_without_an_owner(
    claims: dict[str, object], expected: str
) -> None:
    assert expected in owners(claims) and "" in owners(claims)
    assert len(set(owners(claims))) == len(owners(claims))


def test_the_claims_own_repository_comes_first_and_the_rest_is_cut() -> None:
    claims = {"repository": "octo/last"}
    others = [
        Publisher(str(n), "issuer", GitHub("octo", "1", f"other-{n}", "release.yml"))
        for n in range(MAX_CANDIDATES + 5)
    ]
    own = Publisher("own", "issuer", GitHub("Octo", "1", "Last", "release.yml"))
    found = likeliest([*others, own], claims)
    assert found == [own, *others[: MAX_CANDIDATES - 1]]
    gitlab = Publisher("lab", "issuer", GitLab("group/sub", "Sample", ".gitlab-ci.yml"))
    assert likeliest([own, gitlab], {"project_path": "Group/sub/sample"}) == [gitlab, own]
