"""A token in the words of a person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from .._caveats import (
    Actions,
    Caveat,
    ClientNetworks,
    Digests,
    Expiration,
    Filenames,
    ProjectIds,
    ProjectNames,
    PublisherId,
    Unreadable,
    UserId,
    Uses,
    Versions,
)
from ._macaroon import Embedded, ThirdParty
from ._predicate import read
from ._show import harmless
from ._token import Token

__all__ = ["explain", "moment", "says"]

_SHOWN = 12
"""Values of one caveat that are shown; the rest is counted."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def explain(token: Token, now: datetime | None = None) -> list[str]:
    """What the token says, a line for each thing: where it belongs, whose it is, each caveat
    with what can be told of it at this moment, and whether it is in time.

    `now` is an aware datetime, the present where it is None. The signature is neither shown nor
    checked. Text from the token can't do a terminal harm: see `_show`.
    """
    second = int((_aware(now) - _EPOCH).total_seconds() // 1)
    lines = [*_head(token, second), ""]
    embedded = token._macaroon.caveats
    if not embedded:
        lines.append("No caveats: it may do whatever its subject may.")
    for number, one in enumerate(embedded, 1):
        says_, judged = _caveat(one, second)
        lines.append(f"{number}. {says_} ({judged})")
    lines.append("")
    for number, one in enumerate(embedded, 1):
        if isinstance(one, ThirdParty) or isinstance(read(one), Unreadable):
            lines.append(f"Caveat {number} can't be read, so the token is denied.")
    lines.append(_verdict(token.caveats, second))
    key = f'the service has the master key "{token.key_id}"' if token.key_id else None
    unchecked = key or "the index has the root key"
    lines.append(f"The signature was not checked: only {unchecked}.")
    return lines


def _aware(now: datetime | None) -> datetime:
    if now is None:
        return datetime.now(timezone.utc)
    if now.tzinfo is None:
        raise ValueError("now has to be an aware datetime")
    return now


def _head(token: Token, now: int) -> Iterable[str]:
    yield f"prefix: {token.prefix}"
    yield f"format: macaroon, version {token.version} (binary)"
    yield f"location: {harmless(token.location)}"
    yield f"identifier: {harmless(token.identifier.decode('utf-8', 'replace'))}"
    subject = token.subject
    if subject is None:
        yield "(the identifier is not one of Mintage's: the index knows whose token it is)"
        return
    if token.minted_at is not None:
        minted = int(token.minted_at.timestamp() // 1)
        yield f"minted: {_relative(minted, now)}"
    user, publisher = subject.user_id, subject.publisher_id
    yield f"for: publisher {publisher}" if user is None else f"for: user {user}"
    yield f"master key: {token.key_id}"


def _caveat(embedded: Embedded, now: int) -> tuple[str, str]:
    if isinstance(embedded, ThirdParty):
        location = harmless(embedded.location.decode("utf-8", "replace"))
        return f"needs a proof from a third party, {location}", "denies"
    caveat = read(embedded)
    return says(caveat), _judged(caveat, now)


def says(caveat: Caveat) -> str:
    """What the caveat says."""
    if isinstance(caveat, Expiration):
        until = f"until {moment(caveat.expires_at)}"
        return f"from {moment(caveat.not_before)} {until}" if caveat.not_before > 0 else until
    if isinstance(caveat, UserId):
        if not caveat.id:
            return "only as the user that the index has it for"
        return f"only as user {harmless(caveat.id)}"
    if isinstance(caveat, PublisherId):
        scope = "and only for projects that it is registered to by then"
        return f"only as publisher {harmless(caveat.id)}, {scope}"
    if isinstance(caveat, Uses):
        return "only once" if caveat.count == 1 else f"at most {caveat.count} times"
    if isinstance(caveat, Unreadable):
        return f"unreadable: {harmless(caveat.body.decode('utf-8', 'replace'))}"
    if isinstance(caveat, ClientNetworks):
        networks = caveat.networks
        return f"only from {_listed(networks)}" if networks else "from no network at all"
    what, by, values = _values(caveat)
    if not values:
        return f"no {what} at all"
    return f"only the {what}{'s' if len(values) > 1 else ''}{by} {_listed(values)}"


_Lists = ProjectNames | ProjectIds | Versions | Filenames | Digests | Actions


def _values(caveat: _Lists) -> tuple[str, str, tuple[str, ...]]:
    if isinstance(caveat, ProjectNames):
        return "project", "", caveat.names
    if isinstance(caveat, ProjectIds):
        return "project", " with the id", caveat.ids
    if isinstance(caveat, Versions):
        return "version", "", caveat.versions
    if isinstance(caveat, Filenames):
        return "file", " named", caveat.filenames
    if isinstance(caveat, Digests):
        digests = tuple(one.hex() or "(none that a file could have)" for one in caveat.sha256)
        return "file", " with the SHA-256", digests
    return "action", "", caveat.actions


def _listed(values: tuple[str, ...]) -> str:
    shown = ", ".join(map(harmless, values[:_SHOWN]))
    return f"{shown} and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown


def _judged(caveat: Caveat, now: int) -> str:
    if isinstance(caveat, Expiration):
        if now >= caveat.expires_at:
            return f"over for {_span(now - caveat.expires_at)}"
        if now < caveat.not_before:
            return f"begins in {_span(caveat.not_before - now)}"
        return f"{_span(caveat.expires_at - now)} left"
    if isinstance(caveat, Uses):
        return "counted at use" if caveat.count else "denies"
    if isinstance(caveat, Unreadable):
        return "denies"
    if isinstance(caveat, ClientNetworks):
        return "decided at use" if caveat.networks else "denies"
    if isinstance(caveat, (UserId, PublisherId)):
        return "decided at use"
    return "decided at use" if _values(caveat)[2] else "denies"


def _verdict(caveats: tuple[Caveat, ...], now: int) -> str:
    """What a holder wants to know first: is it still good, as far as can be told."""
    bounds = [one for one in caveats if isinstance(one, Expiration)]
    if not bounds:
        return "It has no end of its own."
    until = min(one.expires_at for one in bounds)
    begin = max(one.not_before for one in bounds)
    if now >= until:
        return f"It is over since {_relative(until, now)}."
    if now < begin:
        return f"It is not valid before {_relative(begin, now)}."
    return f"It is in time for another {_span(until - now)}."


def moment(second: int) -> str:
    """`2026-11-21 23:07:49 UTC`; one that no calendar has stays a number."""
    try:
        return f"{_EPOCH + timedelta(seconds=second):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return f"Unix second {second}"


def _relative(then: int, now: int) -> str:
    if then == now:
        return f"{moment(then)}, just now"
    if then > now:
        return f"{moment(then)}, in {_span(then - now)}"
    return f"{moment(then)}, {_span(now - then)} ago"


def _span(seconds: int) -> str:
    """`14 minutes`: a span in its largest fitting unit."""
    for least, unit_seconds, unit in _UNITS:
        if seconds >= least:
            count = seconds // unit_seconds
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise ValueError("a span is not negative")


_UNITS = ((172_800, 86_400, "day"), (7_200, 3_600, "hour"), (120, 60, "minute"), (0, 1, "second"))
