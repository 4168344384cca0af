"""Waiting for a condition, with a bound that a machine that stalls still keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

BOUND = 60.0
"""Seconds."""


def eventually(condition: Callable[[], Value], what: str, bound: float = BOUND) -> Value:
    """The first value of the condition that is true."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound:.0f} seconds: {what}")
        time.sleep(0.02)
