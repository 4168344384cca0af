"""What an index shows, as responses: the simple index (PEP 503 and 691), and refused CI jobs.

Each function makes a `mintage.pep807.Response` of values; where they come from, and at which
path the answer stands, is the index's own. There are no templates: an index with pages of its
own takes the values and leaves these alone. Whatever is shown is escaped.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .pep807 import Response
from .pep807._negotiation import weight_of, weights_in

__all__ = ["File", "Report", "mismatches", "project", "projects"]

_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = "application/vnd.pypi.simple.v1+html"
_PLAIN = "text/html"


@dataclass(frozen=True)
class File:
    """A file of a project. `sha256` is in hex, `url` absolute or from the page's own host.

    `requires_python` is what the file's metadata says, empty where it says nothing.
    """

    filename: str
    url: str
    sha256: str
    requires_python: str = ""


@dataclass(frozen=True)
class Report:
    """Why a CI job was not taken for a publisher: a `mintage.Mismatch`, and when it was."""

    at: str
    claim: str
    expected: str
    found: str


def projects(names: Iterable[str], base: str, accept: str | None = None) -> Response:
    """The simple index: the projects' names, each with a link below the path `base`.

    `accept` is the request's header; JSON is given to who prefers it, and HTML to everybody else.
    """
    listed = list(names)
    if _prefers_json(accept):
        return _as_json({"projects": [{"name": name} for name in listed]})
    links = [_link(f"{base.rstrip('/')}/{_normalized(name)}/", name) for name in listed]
    return _as_html("Simple index", links, accept)


def project(name: str, files: Iterable[File], accept: str | None = None) -> Response:
    """The simple index's page of a project. `name` is shown normalized."""
    name, listed = _normalized(name), list(files)
    if _prefers_json(accept):
        return _as_json({"name": name, "files": [_entry(file) for file in listed]})
    links = [
        _link(f"{file.url}#sha256={file.sha256}", file.filename, _restriction(file))
        for file in listed
    ]
    return _as_html(f"Links for {name}", links, accept)


def mismatches(project: str, reports: Iterable[Report]) -> Response:
    """Why jobs were not taken for a publisher of the project, in words that say what to change.

    For those who maintain the project, and nobody else. A stranger's job may have caused a
    report: so nothing in it is a link or markup, and no script runs on this page.
    """
    head = ("When (UTC)", "Claim", "Registered here", "The job's own")
    rows = [_row("th", *head)]
    rows += [_row("td", one.at, one.claim, one.expected, one.found) for one in reports]
    advice = (
        "<p>A CI job got no upload token because it differs from the publishers of this project."
        " Register what the job has, or change the job to what is registered."
    )
    title = f"Refused trusted publishing: {html.escape(project)}"
    lines = [f"<h1>{title}</h1>", advice, "<table>", *rows, "</table>"]
    return _page(title, lines, _PLAIN, ("Cache-Control", "no-store"))


def _entry(file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": file.url,
        "hashes": {"sha256": file.sha256},
    }
    return entry | ({"requires-python": file.requires_python} if file.requires_python else {})


def _restriction(file: File) -> str:
    text = html.escape(file.requires_python)
    return f' data-requires-python="{text}"' if text else ""


def _link(url: str, text: str, attributes: str = "") -> str:
    return f'<a href="{html.escape(url)}"{attributes}>{html.escape(text)}</a><br>'


def _row(cell: str, *texts: str) -> str:
    cells = "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in texts)
    return f"<tr>{cells}</tr>"


def _prefers_json(accept: str | None) -> bool:
    """Whether JSON was asked for; who takes anything gets what PEP 503 says."""
    weights = _weights(accept)
    html_weight = max(weight_of(weights, _HTML), weight_of(weights, _PLAIN))
    return weights.get(_JSON, 0.0) > html_weight


def _weights(accept: str | None) -> dict[str, float]:
    return weights_in((accept or "").lower().replace("simple.latest", "simple.v1"))


def _as_json(document: Mapping[str, object]) -> Response:
    body = json.dumps({"meta": {"api-version": "1.0"}, **document}).encode("ascii")
    return _response(body, _JSON, ("Vary", "Accept"))


def _as_html(title: str, links: list[str], accept: str | None) -> Response:
    weights = _weights(accept)
    kind = _HTML if weights.get(_HTML, 0.0) > weight_of(weights, _PLAIN) else _PLAIN
    version = '<meta name="pypi:repository-version" content="1.0">'
    return _page(html.escape(title), [version, *links], kind, ("Vary", "Accept"))


def _page(title: str, lines: list[str], kind: str, *headers: tuple[str, str]) -> Response:
    body = "\n".join(["<!DOCTYPE html>", f"<title>{title}</title>", *lines, ""])
    encoded = body.encode("utf-8", "replace")
    policy = ("Content-Security-Policy", "default-src 'none'")
    return _response(encoded, f"{kind}; charset=utf-8", policy, *headers)


def _response(body: bytes, content_type: str, *headers: tuple[str, str]) -> Response:
    length = ("Content-Length", str(len(body)))
    nosniff = ("X-Content-Type-Options", "nosniff")
    return Response(200, (("Content-Type", content_type), length, nosniff, *headers), body)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
