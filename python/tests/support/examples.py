"""A project, its publisher and an upload of it, as most tests have them."""

from __future__ import annotations

from typing import Any

import mintage
from mintage import Access, Project, Publisher

from . import Issuer

PROJECT = Project("7", "SampleProject")


def publisher(issuer: Issuer, **changed: Any) -> Publisher:
    given: dict[str, Any] = {
        "id": "11",
        "issuer": issuer.url,
        "identity": mintage.GitHub("octo", "1", "sampleproject", "release.yml"),
        "projects": (PROJECT, Project("8", "other")),
    }
    return Publisher(**(given | changed))


def upload(**changed: Any) -> Access:
    given: dict[str, Any] = {
        "project": PROJECT,
        "publisher_ids": ("11",),
        "version": "1.0",
        "filename": "sampleproject-1.0.tar.gz",
        "sha256": b"s" * 32,
    }
    return Access(**(given | changed))
