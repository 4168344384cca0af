"""Text from strangers, fit for a terminal and a log: what would move the cursor, colour the
screen, end the line or turn it around is written as an escape, and long text is cut.
"""

from __future__ import annotations

__all__ = ["harmless", "quoted"]

_SHOWN_CHARACTERS = 80


def harmless(text: str, most: int = 160) -> str:
    """The text, at most so many of its characters."""
    shown = "".join(map(_letter, text[:most]))
    return shown + "…" if len(text) > most else shown


def quoted(text: str) -> str:
    """The same, in quotation marks."""
    return f'"{harmless(text, _SHOWN_CHARACTERS)}"'


def _letter(letter: str) -> str:
    return letter if letter.isprintable() else f"\\u{{{ord(letter):x}}}"
