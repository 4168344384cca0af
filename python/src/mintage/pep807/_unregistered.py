"""The sentence for a job whose publisher nobody registered.

The service can't say more than that there was no candidate. A maintainer has to know what their
job's ID token says, since that is what they have to register. The claims may be shown: the
service verifies an ID token before it looks at candidates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TELLING = (
    ("repository", "repository"),
    ("job_workflow_ref", "workflow"),
    ("project_path", "project"),
    ("ci_config_ref_uri", "pipeline"),
    ("environment", "environment"),
    ("organization", "organization"),
    ("email", "email"),
)
"""What providers identify a job by, and the word for it."""

_MAX_SHOWN = 120


def nobody_registered(claims: Mapping[str, Any]) -> str:
    """What the ID token says, for the maintainer to register."""
    beginning = "This index has no trusted publisher registered for this job"
    told = [(word, claims[name]) for name, word in _TELLING if _is_text(claims.get(name))]
    if not told:
        told = [(name, claims[name]) for name in ("sub",) if _is_text(claims.get(name))]
    if not told:
        return f"{beginning}."
    facts = ", ".join(f"{word} {shown(claim)}" for word, claim in told)
    return f"{beginning}, whose ID token says: {facts}."


def shown(text: str) -> str:
    """A stranger's text in quotes, cut, with nothing in it that a terminal would obey."""
    if len(text) > _MAX_SHOWN:
        text = text[: _MAX_SHOWN - 1] + "…"
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return json.dumps(printable, ensure_ascii=False)


def _is_text(claim: object) -> bool:
    return isinstance(claim, str) and bool(claim)
