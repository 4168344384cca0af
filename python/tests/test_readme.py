"""The README's examples, as a reader would run them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support import AUDIENCE, REPOSITORY, Issuer, Service

import mintage

README = REPOSITORY / "python" / "README.md"

# What only stands for the reader's own.
ADDRESS = "mintage.internal:50051"
GITHUB = "https://token.actions.githubusercontent.com"


@pytest.fixture
def example(service: Service, issuer: Issuer) -> Iterator[dict[str, Any]]:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    code = "\n".join(blocks)
    assert code.count(ADDRESS) == 2 and code.count(GITHUB) == 1
    code = code.replace(ADDRESS, service.address).replace(GITHUB, issuer.url)
    names: dict[str, Any] = {}
    exec(compile(code, str(README), "exec"), names)
    yield names
    names["client"].close()


def test_a_ci_job_uploads_what_its_token_is_good_for(
    example: dict[str, Any], issuer: Issuer
) -> None:
    token, end = example["mint_token"](issuer.id_token(AUDIENCE), "192.0.2.1")
    assert end is not None
    upload = ("1.0", "sampleproject-1.0.tar.gz", b"s" * 32)
    assert example["may_upload"](token, *upload) == (True, [])
    assert not asyncio.run(example["revoke"](token)).again
    allowed, reasons = example["may_upload"](token, *upload)
    assert not allowed and len(reasons) == 1


def test_the_errors_say_what_they_are_said_to(example: dict[str, Any], issuer: Issuer) -> None:
    id_token = issuer.id_token(AUDIENCE)
    assert example["mint_or_explain"](id_token).startswith("pypi-")
    assert example["mint_or_explain"](id_token).startswith("ID_TOKEN_REUSED: the ID token")


def test_pep_807_leads_to_an_upload(example: dict[str, Any], issuer: Issuer) -> None:
    access = mintage.Access(example["project"], ("11",), "1.0", "sampleproject-1.0.tar.gz")
    application = example["with_trusted_publishing"](None)
    body = json.dumps({"token": issuer.id_token(AUDIENCE)}).encode()
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/_/oidc/mint-token",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    answer = application(environ, lambda status, headers: statuses.append(status))
    assert statuses == ["200 OK"]
    password = f"__token__:{json.loads(b''.join(answer))['token']}"
    authorization = f"Basic {base64.b64encode(password.encode()).decode()}"
    assert example["not_allowed"](authorization, access) is None
    elsewhere = mintage.Access(mintage.Project("8", "other"), ("11",), "1.0", "other-1.0.tar.gz")
    assert example["not_allowed"](authorization, elsewhere).status == 403
    assert example["not_allowed"](None, access).status == 401
