"""What this index does around a Mint: pending publishers before it, mismatch reports after it.

Both ask Mintage who the CI job is, with `verify_identity`, which redeems nothing. Nothing here
reads an ID token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import mintage.aio
from mintage import Minted, Publisher, Reason, Refused

from .database import Database


class Client(mintage.aio.Client):
    """A client to give to PEP 807's endpoints; it knows the index's database."""

    def __init__(self, *targets: str, database: Database, **options: Any) -> None:
        super().__init__(*targets, **options)
        self._database = database

    async def mint_for_publisher(
        self, id_token: str, candidates: Iterable[Publisher], **options: Any
    ) -> Minted:
        candidates = list(candidates)
        if any(self._database.is_pending(candidate.id) for candidate in candidates):
            candidates = await self._with_created(id_token, candidates, options)
        try:
            return await super().mint_for_publisher(id_token, candidates, **options)
        except Refused as refused:
            if refused.reason is Reason.PUBLISHER_NOT_FOUND:
                await self._report(id_token, candidates, options)
            raise

    async def _with_created(
        self, id_token: str, candidates: list[Publisher], options: dict[str, Any]
    ) -> list[Publisher]:
        """Creates the projects that the job's publisher waited for.

        Done again, by a retry for instance, it changes nothing.
        """
        who = await self.verify_identity(id_token, candidates, **_asked_by(options))
        if not who.allowed:
            return candidates
        self._database.create_pending(who.publisher_id)
        projects = self._database.projects_of(who.publisher_id)
        return [
            replace(candidate, projects=projects) if candidate.id == who.publisher_id else candidate
            for candidate in candidates
        ]

    async def _report(
        self, id_token: str, candidates: list[Publisher], options: dict[str, Any]
    ) -> None:
        """Leaves for the maintainers in what the job differs from what they registered."""
        try:
            who = await self.verify_identity(id_token, candidates, **_asked_by(options))
        except mintage.Error:
            return
        for denial in who.denials:
            if denial.mismatch is not None:
                self._database.report(denial.mismatch)


def _asked_by(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("index", "requester") if name in options}
