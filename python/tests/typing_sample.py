"""What a type checker sees of the package. Not run: mypy reads it, and warns of any `ignore` here
that hides no mistake."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Optional

from typing_extensions import assert_type

import mintage
import mintage.aio

PUBLISHER = mintage.Publisher(
    "11", "https://gitlab.com", mintage.GitLab("octo", "sampleproject", ".gitlab-ci.yml")
)


def waiting(client: mintage.Client) -> None:
    minted = client.mint_for_publisher(
        "ID-token",
        (publisher for publisher in [PUBLISHER]),
        projects={"sampleproject"},
        caveats=[mintage.Uses(1), mintage.Versions(("1.0",))],
        lifetime=timedelta(minutes=20),
        features=[mintage.SINGLE_USE],
    )
    assert_type(minted, mintage.Minted)
    assert_type(minted.expires_at, Optional[datetime])
    assert_type(client.verify(minted.token, mintage.Access()), mintage.Verification)
    assert_type(client.revoke(token_id=minted.token_id).again, bool)

    client.mint_for_user(42)  # type: ignore[arg-type]
    client.mint_for_user("42", lifetime=60)  # type: ignore[arg-type]
    client.mint_for_user("42", caveats=["sampleproject"])  # type: ignore[list-item]
    client.verify(minted, mintage.Access())  # type: ignore[arg-type]
    client.verify(minted.token)  # type: ignore[call-arg]
    minted.token = "another"  # type: ignore[misc]


async def asynchronous() -> None:
    async with mintage.aio.Client("mintage.internal:50051", index="pypi") as client:
        assert_type(await client.mint_for_user("42"), mintage.Minted)
        assert_type(await client.attenuate("pypi-AgE", [mintage.UserId("42")]), mintage.Attenuated)
        client.mint_for_user("42").token  # type: ignore[attr-defined]


def failing(error: mintage.Error) -> None:
    assert_type(error.reason, mintage.Reason)
    assert_type(error.retry_after, Optional[float])


def caveats(caveat: mintage.Caveat) -> int:
    if isinstance(caveat, mintage.Expiration):
        return caveat.expires_at
    caveat.expires_at  # type: ignore[union-attr]
    return 0
