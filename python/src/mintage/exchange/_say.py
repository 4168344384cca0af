"""Standard error: what a maintainer reads in the CI's log.

What comes from an index is a stranger's text in a log that obeys commands, `::add-path::…` at
the beginning of a line and `##[…]` anywhere: so each line begins with our name, holds no
control character, and no `##`. A secret never shows, even where an index sends it back.
"""

from __future__ import annotations

import os
import sys

from ..tokens._show import harmless

__all__ = ["Voice"]

_LONGEST = 2_000


class Voice:
    """Speaks to standard error, and keeps secrets."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def say(self, text: str) -> None:
        """One line."""
        for secret in self._secrets:
            text = text.replace(secret, "(a secret)")
        line = harmless(text, _LONGEST).replace("##", "# #")
        print(f"mintage.exchange: {line}", file=sys.stderr, flush=True)

    def conceal(self, secret: str) -> None:
        """Makes sure that this never shows; in GitHub Actions, also not in what others print.

        The command goes to standard error, because standard output is captured where a token
        is wanted; the runner reads both alike.
        """
        if not secret:
            return
        self._secrets.append(secret)
        if os.environ.get("GITHUB_ACTIONS") == "true" and secret.isascii() and secret.isprintable():
            print(f"::add-mask::{secret}", file=sys.stderr, flush=True)
