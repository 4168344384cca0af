"""JSON from strangers, read strictly and within bounds.

Whatever two readers could take for two different things is refused: a key that comes twice,
NaN, a lone surrogate, bytes that aren't UTF-8. Nesting is bounded before anything is parsed,
so that no input reaches the parser's own limit.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

# The closing quote is optional, so that this never fails and never goes back: it stays linear.
_STRING = re.compile(r'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


def read_object(data: bytes, *, depth: int) -> dict[str, Any]:
    """An object nested at most `depth` deep, itself counted; else `ValueError`.

    The error's text is a clause about what is wrong, and holds nothing of the input.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if _depth(text) > depth:
        raise ValueError(f"it is nested more than {depth} deep")
    value = _parse(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair") from None
    return value


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    except _Ambiguous as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError):
        raise ValueError("it holds a number that is too long") from None


def _depth(text: str) -> int:
    """How deep brackets are nested, strings apart. In what isn't JSON it is merely a bound."""
    deepest = level = 0
    for bracket in _BRACKETS.findall(_STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Ambiguous("a key in it comes twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise _Ambiguous("it holds a number that JSON does not have")


class _Ambiguous(Exception):
    """Not a ValueError, to tell it from those of the parser."""
