"""What callers were told, held against what they may be told, and printed as a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

NO_ANSWER = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""Status codes that say: nobody can tell, ask again."""

_TABLES: list[Seen] = []


@dataclass(frozen=True)
class Call:
    """One call as its caller saw it. `failed` is the status of a call without an answer."""

    during: str
    caller: str
    seconds: float
    failed: str = ""
    retry_after: float | None = None


@dataclass
class Seen:
    """Everything that the callers of one test were told, by what was done meanwhile."""

    title: str
    calls: list[Call] = field(default_factory=list, repr=False)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    """A no to whoever should have had a yes, and when."""
    granted: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set), repr=False)
    """The upload tokens that an ID token was good for; the calls that a single-use token was."""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _TABLES.append(self)

    def answered(self, during: str) -> int:
        return sum(not call.failed for call in self._during(during))

    def failures(self, during: str) -> list[Call]:
        return [call for call in self._during(during) if call.failed]

    def refused(self, during: str) -> list[str]:
        return [what for when, what in self.wrong if when == during]

    def granted_twice(self) -> int:
        return sum(len(grants) > 1 for grants in self.granted.values())

    def _during(self, during: str) -> list[Call]:
        return [call for call in self.calls if call.during == during]

    def table(self) -> Iterator[str]:
        """For a person."""
        yield ""
        yield f"{self.title:<44} calls  failed  refused  slowest  what failed"
        for during in dict.fromkeys(call.during for call in self.calls):
            calls, failures = self._during(during), self.failures(during)
            slowest = max(call.seconds for call in calls)
            kinds = Counter(f"{call.failed} to {call.caller}" for call in failures)
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            refused = len(self.refused(during))
            counts = f"{len(calls):>5}  {len(failures):>6}  {refused:>7}  {slowest:>5.2f} s"
            yield f"  {during:<42} {counts}  {told}".rstrip()
        yield f"  granted twice: {self.granted_twice()} of {len(self.granted)}"
        yield from (f"  {note}" for note in self.notes)


def tables() -> Iterator[str]:
    """Those of all tests so far."""
    for one in _TABLES:
        if one.calls:
            yield from one.table()


def nobody_noticed(seen: Seen, during: str) -> None:
    """Every call was answered, and as it should be."""
    assert seen.answered(during)
    assert not seen.failures(during)
    assert not seen.refused(during)
    assert seen.granted_twice() == 0


def nobody_was_misled(seen: Seen, during: str) -> None:
    """Whoever got no answer was told so, and nobody got what was somebody else's."""
    assert seen.answered(during)
    assert {call.failed for call in seen.failures(during)} <= NO_ANSWER
    assert seen.granted_twice() == 0
