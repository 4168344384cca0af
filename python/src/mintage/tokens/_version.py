"""Versions as PEP 440 has them, as far as writing caveats takes it: is it one, and what is its
normal spelling. Two spellings of one version are compared by the service, not here.
"""

from __future__ import annotations

import re

__all__ = ["normal"]

# re.ASCII: without it a Kelvin sign would be a k, and a long s an s.
_VERSION = re.compile(
    r"""
    [ \t\n\r\f]* v?
    (?:(?P<epoch>[0-9]+)!)?
    (?P<release>[0-9]+(?:\.[0-9]+)*)
    (?:[-_.]?(?P<pre>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<pre_number>[0-9]*))?
    (?:-(?P<implicit>[0-9]+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>[0-9]*))?
    (?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>[0-9]*))?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?
    [ \t\n\r\f]*
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

_PRE = {"alpha": "a", "a": "a", "beta": "b", "b": "b"}
_NUMBERS = range(2**64)
"""What the service counts with; a version beyond is none to it."""

_MAX_DIGITS = 20


def normal(text: str) -> str | None:
    """The normal spelling; None for what is no version."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    try:
        version = ".".join(_number(number) for number in part["release"].split("."))
        epoch = _number(part["epoch"] or "0")
        if epoch != "0":
            version = f"{epoch}!{version}"
        if part["pre"]:
            kind = _PRE.get(part["pre"].lower(), "rc")
            version += kind + _number(part["pre_number"])
        if part["post"] or part["implicit"]:
            version += ".post" + _number(part["implicit"] or part["post_number"])
        if part["dev"]:
            version += ".dev" + _number(part["dev_number"])
    except ValueError:
        return None
    if part["local"]:
        version += "+" + ".".join(map(_segment, re.split("[-_.]", part["local"])))
    return version


def _number(digits: str) -> str:
    number = digits.lstrip("0") or "0"
    # Python converts no more than some thousands of digits.
    if len(number) > _MAX_DIGITS or int(number) not in _NUMBERS:
        raise ValueError("too large")
    return number


def _segment(text: str) -> str:
    """A number or a word; one too large for a number is a word."""
    try:
        return _number(text) if text.isdigit() else text.lower()
    except ValueError:
        return text
