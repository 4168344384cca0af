"""The `caveats` column of a row: what Warehouse holds a token to beside what stands in it.

Lists of `[tag, field…]`, objects of the older forms, and the column's default, an empty object.
Since August 2026 they bind, and a token may have all its restrictions here and none in itself:
whatever this can't read must deny, never vanish. It isn't a reader of tokens; what stands in a
token is read by Mintage.
"""

from __future__ import annotations

from typing import Any

from mintage import Caveat, Expiration, ProjectIds, ProjectNames, PublisherId, UserId


class Unreadable(ValueError):
    """A stored caveat of no known form."""


def read_all(column: Any) -> tuple[Caveat, ...]:
    """The caveats of a row. Raises Unreadable."""
    if column is None or column == {}:
        return ()
    if not isinstance(column, list):
        raise Unreadable("the stored caveats are no list")
    return tuple(read(value) for value in column)


def read(value: Any) -> Caveat:
    """One stored caveat. Raises Unreadable."""
    caveat = None
    if isinstance(value, list):
        caveat = _of_tag(value)
    elif isinstance(value, dict):
        caveat = _of_older_form(value)
    if caveat is None:
        raise Unreadable("a stored caveat can't be read")
    return caveat


def write(caveat: Caveat) -> list[Any] | None:
    """The same as Warehouse would store it. None for what only Mintage knows."""
    match caveat:
        case Expiration(not_before, expires_at):
            return [0, expires_at, not_before]
        case ProjectNames(names):
            return [1, list(names)]
        case ProjectIds(ids):
            return [2, list(ids)]
        case UserId(id):
            return [3, id]
        case PublisherId(id):
            return [4, id]
        case _:
            return None


def _of_tag(value: list[Any]) -> Caveat | None:
    if not value or type(value[0]) is not int:
        return None
    match value:
        case [0, expires_at, not_before] if _is_time(expires_at) and _is_time(not_before):
            return Expiration(not_before=not_before, expires_at=expires_at)
        case [1, names] if _are_texts(names):
            return ProjectNames(tuple(names))
        case [2, ids] if _are_texts(ids):
            return ProjectIds(tuple(ids))
        case [3, str(id)] if id:
            return UserId(id)
        case [4, str(id)] | [4, str(id), _] if id:
            return PublisherId(id)
        case _:
            return None


def _of_older_form(value: dict[str, Any]) -> Caveat | None:
    match value:
        case {"version": 1, "permissions": "user", **rest} if not rest:
            # Whoever the row's user is.
            return UserId("")
        case {"version": 1, "permissions": {"projects": names, **more}, **rest}:
            return None if more or rest else _of_tag([1, names])
        case {"exp": expires_at, "nbf": not_before, **rest} if not rest:
            return _of_tag([0, expires_at, not_before])
        case {"project_ids": ids, **rest} if not rest:
            return _of_tag([2, ids])
        case _:
            return None


def _is_time(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
