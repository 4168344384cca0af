"""pypiserver and devpi-server with their integrations, each from a venv of its own.

They pin what others need in other versions, so what each integration's `requirements.txt` names
is installed apart, and kept between runs. Publishers stand in a file that is read at the start:
all projects that the tests use are listed there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .places import INTEGRATIONS, PACKAGE, VENV
from .processes import Server, answers, free_port

SERVERS = Path(os.environ.get("MINTAGE_TEST_SERVERS", VENV / "servers"))


class IndexServer(Protocol):
    """An index server, as these tests use it."""

    name: str
    port: int
    upload_path: str
    upload_url: str
    simple_url: str
    password: tuple[str, str]
    """A user's name and password, who may upload as before."""

    def stored(self) -> dict[str, bytes]:
        """What was uploaded, by file name."""
        ...

    def log(self) -> str: ...

    def stop(self) -> None: ...


def publishers(github: str, projects: Sequence[str], *, index: str = "", gitlab: str = "") -> str:
    """A file in which GitHub's `octo/NAME` publishes the project of that name; where there is
    a GitLab, its `group/NAME` does so too."""
    providers = {"github": github} | ({"gitlab": gitlab} if gitlab else {})
    return "".join(
        f"""
[[publishers]]
id = "{provider} {project} {index}"
projects = [{json.dumps(project)}]
issuer = {json.dumps(issuer)}
{f"index = {json.dumps(index)}" if index else ""}
{_IDENTITIES[provider].format(project=json.dumps(project))}
"""
        for project in projects
        for provider, issuer in providers.items()
    )


_IDENTITIES = {
    "github": """[publishers.github]
repository_owner = "octo"
repository_owner_id = "1"
repository_name = {project}
workflow_filename = "release.yml"
""",
    "gitlab": """[publishers.gitlab]
namespace = "group"
project = {project}
workflow_filepath = ".gitlab-ci.yml"
""",
}


class PyPIServer:
    """pypiserver behind waitress, as its README says."""

    name = "pypiserver"
    upload_path = "/"
    password = ("alice", "wonderland")

    def __init__(
        self,
        folder: Path,
        mintage: str,
        audience: str,
        issuer: str,
        projects: Sequence[str],
        *,
        gitlab: str = "",
    ) -> None:
        home, programs = INTEGRATIONS / "pypiserver", self.install()
        self._packages = folder / "packages"
        self._packages.mkdir()
        file = folder / "publishers.toml"
        file.write_text(publishers(issuer, projects, gitlab=gitlab))
        (folder / "wsgi.py").write_text(
            _from_readme(
                home / "README.md",
                {
                    '"127.0.0.1:50051"': repr(mintage),
                    '"publishers.toml"': repr(str(file)),
                    '"pypiserver"': repr(audience),
                    '"/srv/packages"': repr(str(self._packages)),
                    'password_file="/srv/htpasswd"': f"auther=lambda *who: who == {self.password}",
                },
            )
        )
        port = self.port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.upload_url, self.simple_url = self.url + self.upload_path, f"{self.url}/simple/"
        command: list[str | Path] = [
            programs / "waitress-serve",
            "--listen",
            f"127.0.0.1:{port}",
            "wsgi:app",
        ]
        environ = os.environ | {"PYTHONPATH": str(folder)}
        self._server = Server(command, folder / "pypiserver.log", env=environ)
        self._server.wait_until(lambda: answers(port, "/simple/"), "pypiserver is up")

    @staticmethod
    def install() -> Path:
        """The folder of its programs; PyPI has to be in reach the first time."""
        home = INTEGRATIONS / "pypiserver"
        return environment(home / "requirements.txt", home)

    def stored(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._packages.iterdir()}

    def log(self) -> str:
        return self._server.log.read_text()

    def stop(self) -> None:
        self._server.stop()


class Devpi:
    """devpi-server with the plugin, and indexes that publishers may upload to.

    The publishers of `team/stable` are those of the tests; `team/other` has one of its own, and
    `team/closed` is in nobody's list.
    """

    name = "devpi"
    upload_path = "/team/stable/"
    password = ("team", "wonderland")

    def __init__(
        self,
        folder: Path,
        mintage: str,
        audience: str,
        issuer: str,
        projects: Sequence[str],
        *,
        others: Sequence[str] = (),
        gitlab: str = "",
    ) -> None:
        programs = self.install()
        data = folder / "data"
        init: list[str | Path] = [programs / "devpi-init", "--serverdir", data, "--no-root-pypi"]
        subprocess.run(init, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        file = folder / "publishers.toml"
        others_too = publishers(issuer, others, index="team/other")
        file.write_text(
            publishers(issuer, projects, index="team/stable", gitlab=gitlab) + others_too
        )
        port = self.port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.upload_url = self.url + self.upload_path
        self.simple_url = f"{self.upload_url}+simple/"
        options: list[str | Path] = [
            "--serverdir",
            data,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        options += ["--mintage", mintage, "--mintage-audience", audience]
        options += ["--mintage-publishers", file]
        self._server = Server([programs / "devpi-server", *options], folder / "devpi.log")
        self._server.wait_until(lambda: answers(port, "/+api"), "devpi is up")
        self._set_up()

    @staticmethod
    def install() -> Path:
        """The folder of its programs; PyPI has to be in reach the first time."""
        home = INTEGRATIONS / "devpi"
        return environment(home / "requirements.txt", plugins=(home,))

    def stored(self) -> dict[str, bytes]:
        """The files that `team/stable` lists."""
        found = {}
        for project in self._get("team/stable")["result"]["projects"]:
            page = f"{self.simple_url}{project}/"
            with urllib.request.urlopen(page) as answer:
                links = re.findall(r'href="([^"#]+)', answer.read().decode())
            for link in links:
                url = urllib.parse.urljoin(page, link)
                with urllib.request.urlopen(url) as answer:
                    found[link.rpartition("/")[2]] = answer.read()
        return found

    def log(self) -> str:
        return self._server.log.read_text()

    def stop(self) -> None:
        self._server.stop()

    def _set_up(self) -> None:
        user, password = self.password
        self._send("PUT", user, {"password": password}, as_user=("root", ""))
        for index in ("stable", "other", "closed"):
            uploaders = [user] if index == "closed" else [user, ":trusted-publisher"]
            settings = {"acl_upload": uploaders, "bases": [], "volatile": False}
            self._send("PUT", f"{user}/{index}", settings, as_user=self.password)

    def _get(self, path: str) -> Any:
        return self._send("GET", path, None)

    def _send(
        self, method: str, path: str, body: Any, *, as_user: tuple[str, str] | None = None
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if as_user is not None:
            headers["Authorization"] = basic(*as_user)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/{path}", data=data, headers=headers, method=method
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


def _from_readme(readme: Path, instead: dict[str, str]) -> str:
    """The program that a README shows, with what an operator has to fill in."""
    (program,) = re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    for shown, meant in instead.items():
        assert program.count(shown) == 1, f"{readme} no longer has {shown}"
        program = program.replace(shown, meant)
    return str(program)


def basic(user: str, password: str) -> str:
    """An `Authorization` header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def environment(requirements: Path, *paths: Path, plugins: tuple[Path, ...] = ()) -> Path:
    """The programs of a venv with what a file pins, this project's code on its `paths`, and
    `plugins` built and installed, since they are found by their entry points."""
    said = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = SERVERS / f"{requirements.parent.name}-{said}"
    if not (home / "complete").exists():
        venv.create(home, clear=True, with_pip=True)
        _pip(home, "install", "--no-deps", "--requirement", requirements)
        _pip(home, "check")
        (home / "complete").touch()
    site_packages = next((home / "lib").glob("python*/site-packages"))
    own = "".join(f"{path}\n" for path in (PACKAGE, *paths))
    (site_packages / "mintage-tests.pth").write_text(own)
    for plugin in plugins:
        # The project's own code changes without its version.
        options = ["--no-deps", "--no-build-isolation", "--force-reinstall"]
        _pip(home, "install", *options, plugin)
    return home / "bin"


def _pip(home: Path, *arguments: str | Path) -> None:
    command = [home / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
