"""What somebody may try with a token of their own against pypiserver and devpi-server.

The forms are written byte by byte and sent to the servers' own ports. Whatever is refused has
left nothing behind.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mintage as package
from kit.identities import GitHubJob, Issuer
from kit.mintage import AUDIENCE, Mintage
from kit.places import INTEGRATIONS
from kit.servers import Devpi, IndexServer, PyPIServer, basic, environment
from kit.tools import Tools
from kit.uploaders import Twine
from mintage.tokens import Token

PROJECTS = ["mine", "mine-1-0-theirs", "theirs"]
MINE = "mine-1.0-py3-none-any.whl"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    reason: str
    body: str

    @property
    def sentence(self) -> str:
        return str(json.loads(self.body)["message"])


def _wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mine-1.0.dist-info/METADATA", "Metadata-Version: 2.1\n")
    return content.getvalue()


WHEEL = _wheel()


@pytest.fixture(scope="module", params=[PyPIServer, Devpi], ids=["pypiserver", "devpi"])
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    mintage: Mintage,
    github: Issuer,
) -> Iterator[IndexServer]:
    folder = tmp_path_factory.mktemp("server")
    running = request.param(folder, mintage.address, AUDIENCE, github.url, PROJECTS)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def devpi(
    tmp_path_factory: pytest.TempPathFactory, mintage: Mintage, github: Issuer
) -> Iterator[Devpi]:
    folder = tmp_path_factory.mktemp("devpi")
    projects, others = ["mine"], ["mine", "elsewhere"]
    running = Devpi(folder, mintage.address, AUDIENCE, github.url, projects, others=others)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(mintage: Mintage) -> Iterator[package.Client]:
    with package.Client(mintage.address) as client:
        yield client


def minted(
    server: IndexServer, issuer: Issuer, project: str = "mine", path: str = "/_/oidc"
) -> str:
    """An upload token, from the server's own endpoint."""
    id_token = issuer.id_token(AUDIENCE, f"octo/{project}")
    body = json.dumps({"token": id_token}).encode()
    answer = send(server, "POST", f"{path}/mint-token", body, {"Content-Type": "application/json"})
    assert answer.status == 200, answer.body
    return str(json.loads(answer.body)["token"])


def send(
    server: IndexServer, method: str, path: str, body: bytes, headers: dict[str, str]
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.reason, answer.read().decode())
    finally:
        connection.close()


def field(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def file(name: str, filename: str, content: bytes = WHEEL) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return f"{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode() + content


def form(name: str = "mine", version: str = "1.0", filename: str = MINE) -> list[bytes]:
    return [
        field(":action", "file_upload"),
        field("protocol_version", "1"),
        field("name", name),
        field("version", version),
        field("filetype", "bdist_wheel"),
        file("content", filename),
    ]


def upload(
    server: IndexServer,
    token: str | None,
    parts: list[bytes],
    *,
    path: str = "",
    user: str = "__token__",
    headers: dict[str, str] | None = None,
    method: str = "POST",
) -> Answer:
    boundary = b"a-boundary-of-the-tests"
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    sent = {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"} | (headers or {})
    if token is not None:
        sent["Authorization"] = basic(user, token)
    return send(
        server, method, path or server.upload_path, body + b"--" + boundary + b"--\r\n", sent
    )


def test_an_upload_in_order_is_stored_and_not_replaced(server: IndexServer, github: Issuer) -> None:
    answer = upload(server, minted(server, github), form())
    assert answer.status == 200, answer.body
    assert server.stored()[MINE] == WHEEL
    again = [*form()[:-1], file("content", MINE, WHEEL + b"\0")]
    assert upload(server, minted(server, github), again).status in (400, 409)
    assert server.stored()[MINE] == WHEEL


FORGED: list[tuple[str, Callable[[], list[bytes]]]] = [
    ("their project", lambda: form("theirs", "9.0", "theirs-9.0-py3-none-any.whl")),
    ("their file in my form", lambda: form("mine", "9.0", "theirs-9.0-py3-none-any.whl")),
    ("my file in their form", lambda: form("theirs", "9.0", "mine-9.0-py3-none-any.whl")),
    ("a name that begins with mine", lambda: form("mine", "9.0", "mine_or_not-9.0.tar.gz")),
    (
        "two names, mine first",
        lambda: [field("name", "mine"), *form("theirs", "9.0", "theirs-9.0.tar.gz")],
    ),
    (
        "two names, mine last",
        lambda: [*form("theirs", "9.0", "theirs-9.0.tar.gz"), field("name", "mine")],
    ),
    (
        "two versions",
        lambda: [field("version", "8.0"), *form(version="9.0", filename="mine-9.0.tar.gz")],
    ),
    (
        "two files, mine first",
        lambda: [file("content", "mine-9.0.tar.gz"), *form("theirs", "9.0", "theirs-9.0.tar.gz")],
    ),
    (
        "two files, mine last",
        lambda: [*form("mine", "9.0", "theirs-9.0.tar.gz"), file("content", "mine-9.0.tar.gz")],
    ),
    (
        "a signature beside it",
        lambda: [
            *form(version="9.0", filename="mine-9.0.tar.gz"),
            file("gpg_signature", "mine-9.0.tar.gz.asc", b"x"),
        ],
    ),
    ("another version", lambda: form(version="8.0", filename="mine-9.0.tar.gz")),
    ("a path", lambda: form(version="9.0", filename="../mine-9.0.tar.gz")),
    ("a backslash", lambda: form(version="9.0", filename="..\\\\mine-9.0.tar.gz")),
    ("no distribution", lambda: form(version="9.0", filename="mine-9.0.exe")),
    ("no file", lambda: form(version="9.0")[:-1]),
    ("removing", lambda: [field(":action", "remove_pkg"), *form()[1:3], field("version", "1.0")]),
    ("removing with a file beside it", lambda: [field(":action", "remove_pkg"), *form()[1:]]),
    ("documentation named as a release", lambda: [field(":action", "doc_upload"), *form()[1:]]),
    (
        "removing as a second action",
        lambda: [*form(version="9.0", filename="mine-9.0.tar.gz"), field(":action", "remove_pkg")],
    ),
    ("registering", lambda: [field(":action", "submit"), *form()[1:4]]),
    (
        "documentation",
        lambda: [field(":action", "doc_upload"), *form()[1:4], file("content", "mine.zip")],
    ),
    ("no action", lambda: form(version="9.0", filename="mine-9.0.tar.gz")[1:]),
    ("nothing", lambda: []),
]


@pytest.mark.parametrize(("name", "parts"), FORGED, ids=[name for name, _ in FORGED])
def test_a_token_uploads_what_it_is_for_and_does_nothing_else(
    name: str, parts: Callable[[], list[bytes]], server: IndexServer, github: Issuer
) -> None:
    token = minted(server, github)
    before = server.stored()
    answer = upload(server, token, parts())
    assert answer.status in (400, 403), answer
    assert answer.sentence in answer.reason and answer.sentence.endswith(".")
    assert server.stored() == before
    log = server.log()
    assert token not in log and basic("__token__", token).split()[1] not in log


@pytest.mark.parametrize("server", [PyPIServer], ids=["pypiserver"], indirect=True)
def test_a_name_that_pypiserver_reads_otherwise_is_refused(
    server: IndexServer, github: Issuer
) -> None:
    """`mine-1.0-theirs-9.0` is `mine-1-0-theirs` to PyPI, and `mine` to pypiserver."""
    token = minted(server, github, "mine-1-0-theirs")
    answer = upload(server, token, form("mine-1.0-theirs", "9.0", "mine-1.0-theirs-9.0.tar.gz"))
    assert (answer.status, "another project" in answer.sentence) == (400, True)
    proper = form("mine-1.0-theirs", "9.0", "mine_1_0_theirs-9.0.tar.gz")
    assert upload(server, token, proper).status == 200


def test_a_digest_is_that_of_the_bytes_whatever_the_form_claims(
    server: IndexServer, github: Issuer
) -> None:
    token = Token.parse(minted(server, github))
    other = hashlib.sha256(b"other").digest()
    parts = form(version="6.0", filename="mine-6.0-py3-none-any.whl")
    claimed = [field("sha256_digest", other.hex()), *parts]
    narrowed = str(token.narrow([package.Digests((other,))]))
    answer = upload(server, narrowed, claimed)
    assert (answer.status, "SHA-256" in answer.sentence) == (403, True)
    assert "mine-6.0-py3-none-any.whl" not in server.stored()
    exact = str(token.narrow([package.Digests((hashlib.sha256(WHEEL).digest(),))]))
    assert upload(server, exact, parts).status == 200
    assert server.stored()["mine-6.0-py3-none-any.whl"] == WHEEL


def test_credentials_that_are_none_are_refused(
    server: IndexServer, github: Issuer, client: package.Client
) -> None:
    before = server.stored()
    new = form(version="9.0", filename="mine-9.0-py3-none-any.whl")
    assert upload(server, None, new).status == 401
    users_own = client.mint_for_user("alice").token
    for token in ["", "x", "pypi-", "pypi-AgEIcHlwaS5vcmc", users_own]:
        answer = upload(server, token, new)
        assert answer.status in (401, 403), (token, answer)
    for user in ["", "root", "alice", "team", "__TOKEN__", "mintage:github mine "]:
        answer = upload(server, minted(server, github), new, user=user)
        assert answer.status in (401, 403), (user, answer)
    assert server.stored() == before


def test_a_revoked_token_is_refused(server: IndexServer, github: Issuer) -> None:
    token = minted(server, github)
    body = json.dumps({"token": token}).encode()
    kind = {"Content-Type": "application/json"}
    assert send(server, "POST", "/_/oidc/burn-token", body, kind).status == 202
    answer = upload(server, token, form(version="9.0", filename="mine-9.0-py3-none-any.whl"))
    assert (answer.status, "revoked" in answer.sentence) == (403, True)


def test_people_with_a_password_upload_as_before(server: IndexServer) -> None:
    user, password = server.password
    parts = form("by-people", "1.0", "by_people-1.0-py3-none-any.whl")
    assert upload(server, password + "x", parts, user=user).status in (401, 403)
    assert upload(server, password, parts, user=user).status == 200
    assert "by_people-1.0-py3-none-any.whl" in server.stored()


def test_a_token_of_one_index_is_no_good_on_another(devpi: Devpi, github: Issuer) -> None:
    other = minted(devpi, github, "elsewhere", "/_/oidc/team/other")
    mine = minted(devpi, github, "mine", "/_/oidc/team/stable")
    elsewhere = form("elsewhere", "1.0", "elsewhere-1.0-py3-none-any.whl")
    for token, parts, path in [
        (other, elsewhere, "/team/stable/"),
        (mine, form(), "/team/other/"),
        (mine, form(), "/team/closed/"),
        (mine, form(), "/team/nowhere/"),
        (mine, form(), "/team/other"),
    ]:
        assert upload(devpi, token, parts, path=path).status in (401, 403, 404), path
    assert upload(devpi, other, elsewhere, path="/team/other/").status == 200
    assert upload(devpi, mine, form(), path="/team/stable").status == 200
    # Each index has an `octo/mine` of its own, and neither is the other.
    others_mine = minted(devpi, github, "mine", "/_/oidc/team/other")
    later = form("mine", "2.0", "mine-2.0-py3-none-any.whl")
    assert upload(devpi, others_mine, later, path="/team/stable/").status == 403


def test_a_client_that_does_discovery_finds_each_index(
    devpi: Devpi, tools: Tools, github_job: Callable[..., GitHubJob], dist: Callable[..., Path]
) -> None:
    twine, job = Twine(tools), github_job("octo/mine").environment
    for index, version in [("stable", "7.0"), ("other", "7.0")]:
        files = dist("mine", version)
        runs = twine.publish(f"{devpi.url}/team/{index}/", files, job)
        assert runs[-1].code == 0, runs[-1].output
    assert "mine-7.0-py3-none-any.whl" in devpi.stored()
    runs = twine.publish(f"{devpi.url}/team/closed/", dist("mine", "7.0"), job)
    assert runs[-1].code != 0 and len(runs) == 1, runs[-1].output


def test_behind_a_proxy_that_devpi_was_not_told_of_nobody_passes_for_the_job(
    devpi: Devpi, github: Issuer
) -> None:
    def mint(id_token: str, headers: dict[str, str]) -> int:
        body = json.dumps({"token": id_token}).encode()
        headers = {"Content-Type": "application/json"} | headers
        return send(devpi, "POST", "/_/oidc/team/stable/mint-token", body, headers).status

    direct, proxied = (github.id_token(AUDIENCE, "octo/mine") for _ in range(2))
    behind = {"X-Outside-URL": "https://index.example"}
    assert [mint(direct, {}), mint(direct, {})] == [200, 200], "a retry from the same address"
    assert [mint(proxied, behind), mint(proxied, behind)] == [200, 422]


@pytest.mark.parametrize("kind", [PyPIServer, Devpi], ids=["pypiserver", "devpi"])
def test_a_mistake_in_the_file_of_publishers_keeps_the_server_down(
    kind: type[PyPIServer] | type[Devpi], tmp_path: Path, mintage: Mintage, github: Issuer
) -> None:
    with pytest.raises(AssertionError, match="publisher 2: 'no name' is no project's name"):
        kind(tmp_path, mintage.address, AUDIENCE, github.url, ["mine", "no name"])


def test_pypiserver_has_to_ask_before_uploads(tmp_path: Path) -> None:
    home = INTEGRATIONS / "pypiserver"
    programs = environment(home / "requirements.txt", home)
    options = "authenticate=[], password_file='.'"
    program = (
        "from mintage_pypiserver import trusted_publishing\n"
        f"trusted_publishing(None, None, audience='a', roots=[{str(tmp_path)!r}], {options})"
    )
    run = subprocess.run([programs / "python", "-c", program], capture_output=True, text=True)
    assert (run.returncode, "or anybody may upload" in run.stderr) == (1, True), run.stderr


def test_an_index_has_to_let_publishers_in(devpi: Devpi, github: Issuer) -> None:
    settings = json.dumps(["acl_upload-=:trusted-publisher"]).encode()
    headers = {"Content-Type": "application/json", "Authorization": basic(*devpi.password)}
    assert send(devpi, "PATCH", "/team/other", settings, headers).status == 200
    token = minted(devpi, github, "elsewhere", "/_/oidc/team/other")
    parts = form("elsewhere", "3.0", "elsewhere-3.0-py3-none-any.whl")
    assert upload(devpi, token, parts, path="/team/other/").status == 403


def test_a_token_opens_no_other_door_of_devpi(devpi: Devpi, github: Issuer) -> None:
    token = minted(devpi, github, "mine", "/_/oidc/team/stable")
    assert upload(devpi, token, form("mine", "4.0", "mine-4.0-py3-none-any.whl")).status == 200
    headers = {"Authorization": basic("__token__", token), "Content-Type": "application/json"}
    for method, path, body in [
        ("DELETE", "/team/stable/mine", b""),
        ("DELETE", "/team/stable/mine/4.0", b""),
        ("DELETE", "/team/stable", b""),
        ("DELETE", "/team", b""),
        ("PATCH", "/team/stable", b'["volatile=True"]'),
        ("PUT", "/team/new", b"{}"),
        (
            "PUSH",
            "/team/stable/",
            b'{"name": "mine", "version": "4.0", "targetindex": "team/other"}',
        ),
        (
            "POST",
            "/team/stable/",
            b'{"name": "mine", "version": "4.0", "targetindex": "team/other"}',
        ),
        ("POST", "/+login", json.dumps({"user": "__token__", "password": token}).encode()),
    ]:
        answer = send(devpi, method, path, body, headers)
        assert 400 <= answer.status < 500, (method, path, answer)
    for method in ("PUSH", "PUT"):
        parts = form("mine", "5.0", "mine-5.0-py3-none-any.whl")
        answer = upload(devpi, token, parts, method=method)
        assert 400 <= answer.status < 500, (method, answer)
    assert set(devpi.stored()) >= {"mine-4.0-py3-none-any.whl"}
    assert "mine-5.0-py3-none-any.whl" not in devpi.stored()
