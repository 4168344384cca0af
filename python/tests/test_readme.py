"""The README's examples, as a reader would run them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support import AUDIENCE, REPOSITORY, Issuer, Service

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
