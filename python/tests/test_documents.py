"""The Python in docs/ runs, and what it makes is what Mintage takes."""

from __future__ import annotations

import re
from typing import Any

from support import AUDIENCE, REPOSITORY, Issuer, Service

import mintage

PROVIDERS = REPOSITORY / "docs" / "providers.md"


def test_the_policy_by_claims_is_read_by_the_service(service: Service, issuer: Issuer) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PROVIDERS.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(code.replace("https://ci.example", issuer.url), str(PROVIDERS), "exec"), names)
    publisher: mintage.Publisher = names["publisher"]
    assert publisher.projects[0].name == "sampleproject"
    with mintage.Client(service.address) as client:
        answer = client.verify_identity(issuer.id_token(AUDIENCE), [publisher])
    # The tests' issuer is GitHub's kind; which kind is registered is what differs.
    assert not answer
    [denial] = answer.denials
    assert denial.mismatch is not None and denial.mismatch.publisher_id == "12"
