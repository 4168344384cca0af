"""Whatever keeps the exchange from its token, as one sentence for the maintainer."""

from __future__ import annotations

__all__ = ["Failed"]


class Failed(Exception):
    """Its text is one sentence to act on. It holds no secret, but may hold what an index said:
    show it as `_say` does."""
