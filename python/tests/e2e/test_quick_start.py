"""The README's quick start, as a reader would run it: its index takes what `uv publish` sends."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3 import encode_multipart_formdata
from werkzeug.serving import make_server

from kit.certificates import Authority, Certificate
from kit.identities import GitHubJob, Issuer
from kit.mintage import Mintage
from kit.places import REPOSITORY
from kit.tools import Tools
from kit.uploaders import Uv
from mintage import Client

README = REPOSITORY / "README.md"
ADDRESS = "127.0.0.1:50051"
GITHUB = "https://token.actions.githubusercontent.com"


def _example() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    return "\n".join(blocks)


@pytest.fixture
def upload_url(
    mintage: Mintage,
    github: Issuer,
    certificate: Certificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """The example, served over HTTPS, with this test's service and issuer in place of the real."""
    example = _example()
    assert example.count(ADDRESS) == example.count(GITHUB) == 1
    example = example.replace(ADDRESS, mintage.address).replace(GITHUB, github.url)
    names: dict[str, Any] = {"__name__": "quick_start"}
    exec(compile(example, str(README), "exec"), names)
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    server = make_server("127.0.0.1", 0, names["app"], threaded=True, ssl_context=tls)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"https://localhost:{server.port}/legacy/"
    server.shutdown()
    serving.join()
    names["client"].close()


def test_it_is_shorter_than_30_lines() -> None:
    assert sum(bool(line.strip()) for line in _example().splitlines()) < 30


def test_uv_publishes_to_it_and_a_strangers_job_does_not(
    upload_url: str,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
    tmp_path: Path,
) -> None:
    ours, stored = dist("sampleproject"), tmp_path / "files"
    strange = github_job("mallory/sampleproject").environment
    refused = Uv(tools).publish(upload_url, ours, strange)
    assert refused[0].code != 0
    assert "repository" in refused[0].output, refused[0].output
    assert not list(stored.iterdir())

    job = github_job("octo/sampleproject").environment
    published = Uv(tools).publish(upload_url, ours, job)
    assert published[0].code == 0, published[0].output
    files = {path.name: path.read_bytes() for path in ours.iterdir()}
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == files


def test_a_file_of_another_project_is_not_stored_under_a_forms_good_name(
    upload_url: str,
    mintage: Mintage,
    authority: Authority,
    tmp_path: Path,
) -> None:
    """Though the token would allow it: nothing in a token says what a file's name means."""
    with Client(mintage.address) as client:
        token = client.mint_for_user("42").token
    fields = {":action": "file_upload", "name": "sampleproject", "version": "1.0"}
    trusted = ssl.create_default_context(cafile=str(authority.file))
    body, kind = encode_multipart_formdata(
        {**fields, "content": ("requests-1.0.tar.gz", b"not yours")}
    )
    request = urllib.request.Request(upload_url, body, {"Content-Type": kind})
    credentials = base64.b64encode(f"__token__:{token}".encode()).decode()
    request.add_header("Authorization", f"Basic {credentials}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, context=trusted, timeout=60)
    assert refused.value.code == 400
    assert "another project" in json.load(refused.value)["detail"]
    assert not list((tmp_path / "files").iterdir())


def test_a_project_of_another_name_is_not_stored_under_its_token(
    upload_url: str,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
    tmp_path: Path,
) -> None:
    job = github_job("octo/sampleproject").environment
    refused = Uv(tools).publish(upload_url, dist("another"), job)
    assert refused[0].code != 0
    assert not list((tmp_path / "files").iterdir())
