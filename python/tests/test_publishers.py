"""Publishers in a TOML file: what is read, and that no mistake passes for an absent restriction."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from mintage import ClaimPolicy, ClaimRule, GitHub, GitLab, Project
from mintage.publishers import Publishers, PublishersError

GITHUB = "https://token.actions.githubusercontent.com"
ONE = f"""
[[publishers]]
id = "one"
projects = ["Sample.Project", "other"]
issuer = "{GITHUB}"
github = {{ repository_owner = "octo", repository_owner_id = "1", repository_name = "sample", \
workflow_filename = "release.yml" }}
"""
TWO = """
[[publishers]]
id = "two"
index = "/team/stable/"
projects = ["sample-project"]
issuer = "https://gitlab.com"

[publishers.gitlab]
namespace = "group"
project = "sample"
workflow_filepath = ".gitlab-ci.yml"
environment = "release"
"""
THREE = """
[[publishers]]
id = "three"
projects = ["sample-project"]
issuer = "https://ci.example"
claims = [{ claim = "repo", equals = "octo/sample" }, { claim = "ref", glob = "refs/tags/*" }]
"""


def read(folder: Path, text: str) -> dict[str, Publishers]:
    path = folder / "publishers.toml"
    path.write_text(textwrap.dedent(text))
    return Publishers.by_index(path)


def test_a_file_is_read_index_by_index(tmp_path: Path) -> None:
    found = read(tmp_path, ONE + TWO + THREE)
    assert {index: len(publishers) for index, publishers in found.items()} == {
        "": 2,
        "team/stable": 1,
    }
    (one,) = found[""].of_claims({"iss": GITHUB, "repository": "Octo/Sample"})
    assert one.identity == GitHub("octo", "1", "sample", "release.yml")
    assert one.projects == (
        Project("sample-project", "sample-project"),
        Project("other", "other"),
    )
    (two,) = found["team/stable"].of_claims(
        {"iss": "https://gitlab.com", "project_path": "group/sample"}
    )
    assert two.identity == GitLab("group", "sample", ".gitlab-ci.yml", "release")
    (three,) = found[""].of_claims({"iss": "https://ci.example"})
    assert three.identity == ClaimPolicy(
        (ClaimRule("repo", equals="octo/sample"), ClaimRule("ref", glob="refs/tags/*"))
    )


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"iss": GITHUB},
        {"iss": GITHUB, "repository": "octo/other"},
        {"iss": GITHUB, "repository": 1},
        {"iss": "https://gitlab.com", "repository": "octo/sample"},
        {"iss": None},
    ],
)
def test_claims_of_somebody_else_have_no_candidates(
    claims: dict[str, object], tmp_path: Path
) -> None:
    assert read(tmp_path, ONE)[""].of_claims(claims) == []


def test_a_project_knows_its_publishers(tmp_path: Path) -> None:
    found = read(tmp_path, ONE + TWO + THREE)
    assert found[""].of_project("sample-project") == ("one", "three")
    assert found[""].of_project("other") == ("one",)
    assert found[""].of_project("Sample.Project") == (), "names are normalized before"
    assert found["team/stable"].of_project("other") == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "one"', "", "`id`"),
        ('id = "one"', 'id = ""', "`id`"),
        ('id = "one"', 'id = "é"', "`id`"),
        ('id = "one"', f'id = "{"x" * 129}"', "`id`"),
        ('projects = ["Sample.Project", "other"]', "", "`projects`"),
        ('projects = ["Sample.Project", "other"]', "projects = []", "`projects`"),
        ('"other"', '"not a name"', "'not a name'"),
        ('"other"', '"-"', "'-'"),
        ('"other"', "1", "no project's name"),
        (f'issuer = "{GITHUB}"', "", "`issuer`"),
        ("workflow_filename", "workflow_file", "workflow_file"),
        ('repository_owner_id = "1", ', "", "repository_owner_id"),
        ('repository_owner_id = "1"', 'repository_owner_id = ""', "repository_owner_id"),
        ('repository_owner_id = "1"', "repository_owner_id = 1", "repository_owner_id"),
        ('"release.yml" }', '"release.yml", enviroment = "release" }', "enviroment"),
        ('"release.yml" }', '"release.yml", environment = "" }', "environment"),
        ("github = {", "githup = {", "githup"),
        ('id = "one"', 'id = "one"\ngitlab = {}', "one provider"),
        ('id = "one"', 'id = "one"\nenvironment = "release"', "one provider"),
        ('id = "one"', 'id = "one"\nindex = 1', "`index`"),
        ("github = {", "claims = []\nx = {", "one provider"),
    ],
)
def test_a_mistake_is_refused_with_its_place(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in ONE
    with pytest.raises(PublishersError, match="publisher 1: ") as refused:
        read(tmp_path, ONE.replace(old, new, 1))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "publishers = {}",
        "publishers = [1]",
        "[[publisher]]",
        ONE + ONE,
        "[[publishers]]",
        "[extra]\n" + ONE,
        "x = ",
        THREE.replace("equals", "equal"),
        THREE.replace(', equals = "octo/sample"', ""),
        THREE.replace("claims = [", "claims = [[").replace('*" }]', '*" }]]'),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(PublishersError):
        read(tmp_path, text)


@pytest.mark.parametrize(("name", "index"), [("pypiserver", ""), ("devpi", "team/stable")])
def test_the_integrations_readmes_show_a_file_that_is_read(
    name: str, index: str, tmp_path: Path
) -> None:
    readme = Path(__file__).parents[1] / "integrations" / name / "README.md"
    (shown,) = re.findall(r"^```toml\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    assert len(read(tmp_path, shown)[index]) == 1


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishersError, match=r"publishers\.toml"):
        Publishers.by_index(tmp_path / "publishers.toml")
