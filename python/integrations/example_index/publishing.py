"""What this index does around a Mint: pending publishers before it, mismatch reports after it.

For both it asks Mintage who the CI job is, with `verify_identity`, which redeems nothing. Nothing
here reads an ID token itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import mintage
import mintage.aio
from mintage import Minted, Publisher, Reason, Refused, Verification

from .database import Database


class Client(mintage.aio.Client):
    """A client to give to PEP 807's endpoints, which knows the index's database."""

    def __init__(self, *targets: str, database: Database, **options: Any) -> None:
        super().__init__(*targets, **options)
        self._database = database

    async def mint_for_publisher(
        self, id_token: str, candidates: Iterable[Publisher], **options: Any
    ) -> Minted:
        """As `mintage.aio.Client.mint_for_publisher`, and what this module is about."""
        asked_by = {key: value for key, value in options.items() if key in ("index", "requester")}
        found = list(candidates)
        if await asyncio.to_thread(self._is_any_pending, found):
            who = await self.verify_identity(id_token, found, **asked_by)
            found = await asyncio.to_thread(self._with_created, who, found)
        try:
            return await super().mint_for_publisher(id_token, found, **options)
        except Refused as refused:
            if refused.reason is Reason.PUBLISHER_NOT_FOUND:
                await self._report(id_token, found, asked_by)
            raise

    def _is_any_pending(self, candidates: list[Publisher]) -> bool:
        return any(self._database.is_pending(candidate.id) for candidate in candidates)

    def _with_created(self, who: Verification, candidates: list[Publisher]) -> list[Publisher]:
        """Creates the projects that the job's publisher waited for; again, it changes nothing."""
        if not who.allowed:
            return candidates
        self._database.create_pending(who.publisher_id)
        projects = self._database.projects_of(who.publisher_id)
        return [
            replace(candidate, projects=projects) if candidate.id == who.publisher_id else candidate
            for candidate in candidates
        ]

    async def _report(
        self, id_token: str, candidates: list[Publisher], asked_by: dict[str, Any]
    ) -> None:
        """Leaves for the maintainers in what the job differs from what they registered.

        Mismatches come only with an ID token whose signature holds, so nobody invents them.
        """
        try:
            who = await self.verify_identity(id_token, candidates, **asked_by)
        except mintage.Error:
            return
        for denial in who.denials:
            if denial.mismatch is not None:
                await asyncio.to_thread(self._database.report, denial.mismatch)
