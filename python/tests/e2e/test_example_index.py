"""The example index itself: what it takes, what it keeps, what it tells, and to whom."""

from __future__ import annotations

import ast
import base64
import json
import re
import shlex
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from functools import partial
from pathlib import Path

import pytest

from example_index import KEPT_REPORTS
from example_index.__main__ import parser
from kit.index import ExampleIndex
from kit.mintage import AUDIENCE
from kit.places import INTEGRATIONS
from kit.samples import sdist, sha256, wheel
from kit.scene import ALICE, Scene
from mintage import SINGLE_USE, Actions, Client, GitHub
from mintage.pep807 import PendingPublisher

MALLORY = "mallory"
JSON = ("Accept", "application/vnd.pypi.simple.v1+json")


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: Message
    body: bytes

    @property
    def sentence(self) -> str:
        """Of a problem document, which every refusal has to be."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["detail"] == problem["message"]
        assert problem["errors"][0]["code"] and problem["errors"][0]["description"]
        return str(problem["detail"])


def ask(
    url: str, *headers: tuple[str, str], data: bytes | None = None, method: str | None = None
) -> Answer:
    request = urllib.request.Request(url, data, dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.reason, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.reason, error.headers, error.read())


def basic(token: str) -> tuple[str, str]:
    credentials = base64.b64encode(f"__token__:{token}".encode()).decode()
    return "Authorization", f"Basic {credentials}"


Header = tuple[str, str]


def form(
    fields: list[tuple[str, str]], filename: str, content: bytes
) -> tuple[bytes, Header]:
    """A form as tools send it; nothing in it is made safe."""
    parts = [
        f'--line\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    head = f'--line\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n'
    parts += [head.encode() + b"Content-Type: application/octet-stream\r\n\r\n", content]
    kind = ("Content-Type", "multipart/form-data; boundary=line")
    return b"".join([*parts, b"\r\n--line--\r\n"]), kind


def upload(
    index: ExampleIndex,
    token: str,
    path: Path,
    project: str,
    *,
    filename: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> Answer:
    named = {":action": "file_upload", "name": project, "version": "1.0", **(extra or {})}
    body, kind = form(list(named.items()), filename or path.name, path.read_bytes())
    return ask(index.upload_url, kind, basic(token), data=body)


@pytest.fixture
def alice(mintage_client: Client) -> str:
    """A token of Alice's, good for all that is hers."""
    return mintage_client.mint_for_user(ALICE, lifetime=timedelta(hours=1)).token


def test_a_file_of_a_user_is_served_as_it_came(
    plain_index: ExampleIndex, alice: str, tmp_path: Path
) -> None:
    plain_index.create_project("Plain.File", ALICE)
    path = wheel(tmp_path, "plain-file")
    extra = {"sha256_digest": sha256(path)}
    assert upload(plain_index, alice, path, "plain_FILE", extra=extra).status == 200
    answer = ask(f"{plain_index.url}/files/{path.name}")
    assert answer.body == path.read_bytes()
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_the_simple_index_is_html_and_json(
    plain_index: ExampleIndex, alice: str, tmp_path: Path
) -> None:
    plain_index.create_project("Simple_Listing", ALICE)
    path = wheel(tmp_path, "simple-listing")
    assert upload(plain_index, alice, path, "simple-listing").status == 200
    url = f"{plain_index.simple_url}simple-listing/"
    page = ask(url)
    assert page.headers["Content-Type"].startswith("text/html")
    assert f'href="/files/{path.name}#sha256={sha256(path)}"' in page.body.decode()
    document = json.loads(ask(url, JSON).body)
    [entry] = document["files"]
    assert (document["name"], document["meta"]) == ("simple-listing", {"api-version": "1.0"})
    assert entry["hashes"] == {"sha256": sha256(path)}
    names = json.loads(ask(plain_index.simple_url, JSON).body)["projects"]
    assert {"name": "Simple_Listing"} in names
    link = b'<a href="/simple/simple-listing/">Simple_Listing</a>'
    assert link in ask(plain_index.simple_url).body
    spelt = f"{plain_index.simple_url}Simple_Listing/"
    assert ask(spelt, JSON).body == ask(url, JSON).body
    assert ask(f"{plain_index.simple_url}nobody-has-it/").status == 404


def test_a_file_never_changes(plain_index: ExampleIndex, alice: str, tmp_path: Path) -> None:
    plain_index.create_project("constant", ALICE)
    path = wheel(tmp_path, "constant")
    assert upload(plain_index, alice, path, "constant").status == 200
    genuine = path.read_bytes()
    for text in ("", "other"):
        wheel(tmp_path, "constant", text=text)
        answer = upload(plain_index, alice, path, "constant")
        assert answer.status == 400 and "already exists" in answer.sentence
        assert answer.reason == answer.sentence
    assert plain_index.uploads()[path.name] == genuine


def test_a_file_that_exists_costs_a_single_use_token_nothing(
    plain_index: ExampleIndex, alice: str, mintage_client: Client, tmp_path: Path
) -> None:
    plain_index.create_project("thrifty", ALICE)
    first, second = wheel(tmp_path, "thrifty"), sdist(tmp_path, "thrifty")
    assert upload(plain_index, alice, first, "thrifty").status == 200
    minted = mintage_client.mint_for_user(
        ALICE, features=(SINGLE_USE,), lifetime=timedelta(minutes=15)
    )
    assert upload(plain_index, minted.token, first, "thrifty").status == 400
    assert upload(plain_index, minted.token, second, "thrifty").status == 200
    assert upload(plain_index, minted.token, second, "thrifty").status == 400


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[int]:
    """The statuses, sorted, of calls that are made at the same moment."""
    start = threading.Barrier(len(calls))

    def call(one: Callable[[], Answer]) -> int:
        start.wait()
        return one().status

    with ThreadPoolExecutor(len(calls)) as threads:
        return sorted(threads.map(call, calls))


def test_of_uploads_at_once_a_single_use_token_allows_one(
    plain_index: ExampleIndex, mintage_client: Client, tmp_path: Path
) -> None:
    plain_index.create_project("raced", ALICE)
    token = mintage_client.mint_for_user(
        ALICE, features=(SINGLE_USE,), lifetime=timedelta(minutes=15)
    ).token
    calls = [
        partial(
            upload, plain_index, token, sdist(tmp_path, "raced", version), "raced",
            extra={"version": version},
        )
        for version in (f"1.{number}" for number in range(8))
    ]
    assert at_once(calls) == [200] + [403] * 7
    assert sum(name.startswith("raced-") for name in plain_index.uploads()) == 1


def test_of_uploads_at_once_one_gets_the_name(
    plain_index: ExampleIndex, alice: str, tmp_path: Path
) -> None:
    project = plain_index.create_project("contended", ALICE)
    paths = []
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths.append(wheel(folder, "contended", text=str(number)))
    calls = [partial(upload, plain_index, alice, path, "contended") for path in paths]
    assert at_once(calls) == [200] + [400] * 7
    [served] = plain_index.digests(project)
    assert served in map(sha256, paths)


HOSTILE_NAMES = [
    "../../hostile-1.0.tar.gz",
    "..\\hostile-1.0.tar.gz",
    "/tmp/hostile-1.0.tar.gz",
    "hostile-1.0.tar.gz/../../x-1.0.tar.gz",
    ".hostile-1.0.tar.gz",
    "hostile-1.0.tar.gz\x00.txt",
    "hostile-1.0.exe",
    "hostile-1.0.zip",
    "hostile.tar.gz",
    "hostile-1.0-py3-none.whl",
    "hostíle-1.0.tar.gz",
    "hostile-1.0.tar.gz\n",
    "h" * 300 + "-1.0.tar.gz",
    "",
]


@pytest.mark.parametrize("filename", HOSTILE_NAMES)
def test_a_file_name_that_is_none_is_refused(
    plain_index: ExampleIndex, alice: str, tmp_path: Path, filename: str
) -> None:
    if plain_index.database.project("hostile") is None:
        plain_index.create_project("hostile", ALICE)
    path = sdist(tmp_path, "hostile")
    before = plain_index.uploads()
    body, kind = form(
        [(":action", "file_upload"), ("name", "hostile"), ("version", "1.0")],
        filename, path.read_bytes(),
    )
    answer = ask(plain_index.upload_url, kind, basic(alice), data=body)
    assert answer.status == 400 and answer.sentence
    assert plain_index.uploads() == before


MISMATCHES: dict[str, tuple[dict[str, str], str | None]] = {
    "another project's name": ({}, "innocent-1.0.tar.gz"),
    "another version's name": ({}, "matching-2.0.tar.gz"),
    "another version": ({"version": "1.1"}, None),
    "no version at all": ({"version": "latest"}, None),
    "another digest": ({"sha256_digest": "0" * 64}, None),
    "another action": ({":action": "submit"}, None),
}


@pytest.mark.parametrize("extra, filename", MISMATCHES.values(), ids=MISMATCHES.keys())
def test_a_form_that_contradicts_its_file_is_refused(
    plain_index: ExampleIndex,
    alice: str,
    tmp_path: Path,
    extra: dict[str, str],
    filename: str | None,
) -> None:
    for name in ("matching", "innocent"):
        if plain_index.database.project(name) is None:
            plain_index.create_project(name, ALICE)
    path = sdist(tmp_path, "matching")
    before = plain_index.uploads()
    answer = upload(plain_index, alice, path, "matching", filename=filename, extra=extra)
    assert answer.status == 400 and answer.sentence == answer.reason
    assert plain_index.uploads() == before


@pytest.mark.parametrize("twice", ["name", "version", ":action"])
def test_a_field_that_comes_twice_is_refused(
    plain_index: ExampleIndex, alice: str, tmp_path: Path, twice: str
) -> None:
    if plain_index.database.project("doubled") is None:
        plain_index.create_project("doubled", ALICE)
    path = sdist(tmp_path, "doubled")
    fields = {":action": "file_upload", "name": "doubled", "version": "1.0"}
    body, kind = form(
        [*fields.items(), (twice, fields[twice])], path.name, path.read_bytes()
    )
    answer = ask(plain_index.upload_url, kind, basic(alice), data=body)
    assert answer.status == 400 and answer.sentence


def test_a_user_uploads_to_nobody_elses_project(
    plain_index: ExampleIndex, alice: str, tmp_path: Path
) -> None:
    plain_index.create_project("mallorys", MALLORY)
    path = wheel(tmp_path, "mallorys")
    answer = upload(plain_index, alice, path, "mallorys")
    assert (answer.status, answer.sentence) == (
        403, "The token's user does not maintain this project.",
    )
    assert upload(plain_index, alice, wheel(tmp_path, "nobodys"), "nobodys").status == 403
    assert not {path.name, "nobodys-1.0-py3-none-any.whl"} & plain_index.uploads().keys()


def test_without_a_good_token_nothing_is_uploaded(
    plain_index: ExampleIndex, alice: str, tmp_path: Path
) -> None:
    plain_index.create_project("guarded", ALICE)
    path = wheel(tmp_path, "guarded")
    body, kind = form(
        [(":action", "file_upload"), ("name", "guarded"), ("version", "1.0")],
        path.name, path.read_bytes(),
    )
    anonymous = ask(plain_index.upload_url, kind, data=body)
    assert anonymous.status == 401 and anonymous.headers["WWW-Authenticate"].startswith("Basic ")
    assert anonymous.sentence == anonymous.reason
    for token in ("nonsense", alice[:-4] + "AAAA", "pypi-" + "A" * 20_000):
        answer = upload(plain_index, token, path, "guarded")
        assert answer.status == 403 and answer.sentence
    assert path.name not in plain_index.uploads()


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(
    plain_index: ExampleIndex, alice: str
) -> None:
    url, length = plain_index.upload_url, ("Content-Length", str(10**12))
    answer = ask(url, basic(alice), length, data=b"", method="POST")
    assert (answer.status, answer.reason) == (413, answer.sentence)
    chunked = ("Transfer-Encoding", "chunked")
    assert ask(url, basic(alice), chunked, method="POST").status == 411


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/legacy/"),
        ("POST", "/legacy/"),
        ("POST", "/simple/"),
        ("GET", "/nothing-here"),
        ("GET", "/files/nothing-1.0.tar.gz"),
        ("GET", "/files/..%2f..%2findex.sqlite"),
        ("GET", "/files/%2e%2e/index.sqlite"),
        ("GET", "/projects/nobodys/publishing"),
        ("POST", "/_/oidc/mint-token"),
        ("POST", "/_/oidc/burn-token"),
        ("DELETE", "/_/oidc/audience"),
        ("GET", "/.well-known/pytp?discover=%2Felsewhere%2F"),
    ],
)
def test_no_refusal_is_html(plain_index: ExampleIndex, method: str, path: str) -> None:
    data = b"<html>" if method == "POST" else None
    answer = ask(f"{plain_index.url}{path}", ("Accept", "*/*"), data=data, method=method)
    assert 400 <= answer.status < 500
    assert answer.sentence


def test_a_pending_publisher_gets_no_project_that_somebody_else_created_meanwhile(
    plain_index: ExampleIndex,
) -> None:
    database = plain_index.database
    identity = GitHub("mallory", "9", "squat", "release.yml")
    database.register("Wanted", MALLORY, "https://issuer.example", identity)
    claims = {"iss": "https://issuer.example", "repository": "mallory/squat"}
    [candidate] = database.find_publishers(claims)
    assert isinstance(candidate, PendingPublisher)
    project = plain_index.create_project("wanted", ALICE)
    assert database.create_pending(candidate).projects == ()
    assert database.publisher_ids(project) == []
    assert not database.maintains(MALLORY, project)
    [candidate] = database.find_publishers(claims)
    assert not isinstance(candidate, PendingPublisher)


def exchange(index: ExampleIndex, id_token: str) -> Answer:
    body = json.dumps({"token": id_token}).encode()
    return ask(f"{index.url}/_/oidc/mint-token", data=body)


def test_a_maintainer_reads_why_a_job_was_refused(
    make_scene: Callable[[ExampleIndex], Scene],
    plain_index: ExampleIndex,
    alice: str,
    mintage_client: Client,
) -> None:
    scene = make_scene(plain_index)
    scene.project("legible", environment="release")
    environment = "<script>alert(1)</script>"
    job = scene.github_job("legible", environment=environment)
    assert exchange(plain_index, job.id_token(AUDIENCE)).status == 422
    renamed = scene.start_github_job("legible/renamed", environment="release")
    assert exchange(plain_index, renamed.id_token(AUDIENCE)).status == 422

    url = f"{plain_index.url}/projects/Legible/publishing"
    page = ask(url, basic(alice)).body.decode()
    assert "<td>environment</td><td>release</td><td>&lt;script&gt;" in page
    assert "<td>repository</td>" in page and environment not in page

    good = scene.github_job("legible", environment="release")
    upload_token = json.loads(exchange(plain_index, good.id_token(AUDIENCE)).body)["token"]
    other = mintage_client.mint_for_user(MALLORY, lifetime=timedelta(hours=1)).token
    narrow = mintage_client.attenuate(alice, [Actions(("upload",))]).token
    for token in (other, narrow, upload_token):
        assert ask(url, basic(token)).status == 403
    assert ask(url).status == 401


def test_a_forged_id_token_leaves_no_report(
    make_scene: Callable[[ExampleIndex], Scene], plain_index: ExampleIndex
) -> None:
    scene = make_scene(plain_index)
    project = scene.project("unforged", environment="release")
    job = scene.github_job("unforged")
    forged = job.id_token(AUDIENCE).rpartition(".")[0] + "." + "A" * 342
    assert exchange(plain_index, forged).status == 422
    assert exchange(plain_index, job.id_token("another-audience")).status == 422
    assert plain_index.reports(project) == 0
    for _ in range(KEPT_REPORTS + 2):
        assert exchange(plain_index, job.id_token(AUDIENCE)).status == 422
    assert plain_index.reports(project) == KEPT_REPORTS


def test_the_commands_register_what_they_are_told(
    make_scene: Callable[[ExampleIndex], Scene], plain_index: ExampleIndex
) -> None:
    scene = make_scene(plain_index)

    def command(*arguments: str | Path) -> str:
        made = subprocess.run(
            [*plain_index.command, *arguments],
            env=plain_index.environment, check=True, capture_output=True, text=True,
        )
        return made.stdout

    plain_index.create_project("Commanded", ALICE)
    github = [
        "github", "repository_owner=commanded", "repository_owner_id=1",
        "repository_name=commanded", "workflow_filename=release.yml",
        "--issuer", scene.github.url,
    ]
    gitlab = [
        "gitlab", "namespace=group/sub", "project=commanded", "workflow_filepath=.gitlab-ci.yml",
        "--issuer", scene.gitlab.url,
    ]
    assert command("publisher", "commanded", ALICE, *github) == ""
    assert "Pending" in command("publisher", "Still-To-Be", ALICE, *gitlab)
    files = scene.dist("commanded", both=False)
    job = scene.github_job("commanded").id_token(AUDIENCE)
    token = json.loads(exchange(plain_index, job).body)["token"]
    [path] = files.iterdir()
    assert upload(plain_index, token, path, "commanded").status == 200

    pipeline = scene.start_gitlab_job("group/sub/commanded").id_token()
    token = json.loads(exchange(plain_index, pipeline).body)["token"]
    pending = wheel(files, "still-to-be")
    assert upload(plain_index, token, pending, "still-to-be").status == 200

    only = sdist(files, "commanded")
    narrow = ["--project", "commanded", "--only", str(only), "--single-use"]
    token = command("token", ALICE, *narrow).strip()
    assert upload(plain_index, token, sdist(files, "still-to-be"), "still-to-be").status == 403
    assert upload(plain_index, token, only, "commanded").status == 200


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("publisher", "../m", ALICE, "gitlab", "namespace=g", "project=p",
          "workflow_filepath=ci.yml"), "name is invalid: '../m'"),
        (("publisher", "m", ALICE, "github", "repository_owner=o", "repository_name=r",
          "workflow_filename=r.yml"), "`github` lacks repository_owner_id"),
        (("publisher", "m", ALICE, "google", "email=m@example.org", "enviroment=release"),
         "`google` has no key enviroment"),
    ],
)
def test_a_commands_mistake_is_told_in_a_sentence(
    plain_index: ExampleIndex, arguments: tuple[str, ...], sentence: str
) -> None:
    made = subprocess.run(
        [*plain_index.command, *arguments],
        env=plain_index.environment, capture_output=True, text=True,
    )
    assert made.returncode == 1 and made.stderr.startswith(sentence)
    assert plain_index.database.project("m") is None


def test_the_readmes_commands_are_commands() -> None:
    readme = (INTEGRATIONS / "example_index" / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if "-m example_index" in line]
    assert len(commands) == 3
    for line in commands:
        words = shlex.split(line, comments=True)
        parser().parse_args(words[words.index("example_index") + 1 :])


def lines(path: Path) -> tuple[int, int]:
    """How many lines a module has: those of code, and all."""
    text = path.read_text()
    said: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            match node.body:
                case [ast.Expr(ast.Constant(str())) as docstring, *_]:
                    said.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    code = [
        line
        for number, line in enumerate(text.splitlines(), start=1)
        if number not in said and line.strip() and not line.strip().startswith("#")
    ]
    return len(code), len(text.splitlines())


def test_the_readme_says_how_many_lines_there_are_and_they_are_few() -> None:
    home = INTEGRATIONS / "example_index"
    counts = [lines(path) for path in home.glob("*.py")]
    code, everything = (sum(count) for count in zip(*counts, strict=True))
    readme = (home / "README.md").read_text()
    said = re.findall(r"^It has (\d+) lines .*; (\d+) with them", readme, re.MULTILINE)
    assert said == [(str(code), str(everything))]
    assert code <= 250
