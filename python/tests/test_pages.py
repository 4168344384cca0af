"""What an index shows: the simple index in the form that was asked for, and refused jobs."""

from __future__ import annotations

import html.parser
import json

import pytest

from mintage import pages
from mintage.pep807 import Response

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
PIP = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"

FILES = [
    pages.File("sample-1.0.tar.gz", "/files/sample-1.0.tar.gz", "a" * 64, ">=3.9,<4"),
    pages.File("sample-1.0-py3-none-any.whl", "https://cdn.example/x?a=1&b=2", "b" * 64),
]
HOSTILE = "\"><script>alert('&')</script>\u202e\ud800"


def header(response: Response, name: str) -> str:
    [value] = [value for header, value in response.headers if header == name]
    return value


class Anchors(html.parser.HTMLParser):
    """The links of a page, and every element in it."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.links: list[tuple[dict[str, str | None], str]] = []
        self.elements: set[str] = set()
        self.feed(response.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        if tag == "a":
            self.links.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.links and not self.links[-1][1]:
            self.links[-1] = (self.links[-1][0], data)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/html"),
        ("", "text/html"),
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "text/html"),
        (PIP, JSON),
        (JSON, JSON),
        (JSON.replace("v1", "latest"), JSON),
        (JSON.upper(), JSON),
        (f"{JSON};q=0.1, text/html", "text/html"),
        (f"{JSON};q=0", "text/html"),
        (f"{HTML}, text/html;q=0.5", HTML),
    ],
)
def test_each_client_gets_the_form_that_it_prefers(accept: str | None, kind: str) -> None:
    for response in (
        pages.projects(["Sample.Project"], "/simple/", accept),
        pages.project("sample", FILES, accept),
    ):
        assert header(response, "Content-Type").partition(";")[0] == kind
        assert header(response, "Vary") == "Accept"
        assert int(header(response, "Content-Length")) == len(response.body)


def test_the_list_of_projects_leads_to_their_pages() -> None:
    document = json.loads(pages.projects(["Sample._Project"], "/simple", PIP).body)
    assert document == {"meta": {"api-version": "1.0"}, "projects": [{"name": "Sample._Project"}]}
    page = Anchors(pages.projects(["Sample._Project"], "/team/simple/"))
    assert page.links == [({"href": "/team/simple/sample-project/"}, "Sample._Project")]


def test_a_projects_page_has_digests_and_the_pythons_that_its_files_need() -> None:
    document = json.loads(pages.project("Sam.Ple", FILES, PIP).body)
    assert document["name"] == "sam-ple"
    assert document["files"] == [
        {
            "filename": "sample-1.0.tar.gz",
            "url": "/files/sample-1.0.tar.gz",
            "hashes": {"sha256": "a" * 64},
            "requires-python": ">=3.9,<4",
        },
        {
            "filename": "sample-1.0-py3-none-any.whl",
            "url": "https://cdn.example/x?a=1&b=2",
            "hashes": {"sha256": "b" * 64},
        },
    ]
    sdist, wheel = Anchors(pages.project("Sam.Ple", FILES)).links
    href = f"/files/sample-1.0.tar.gz#sha256={'a' * 64}"
    assert sdist == ({"href": href, "data-requires-python": ">=3.9,<4"}, FILES[0].filename)
    assert wheel[0] == {"href": f"https://cdn.example/x?a=1&b=2#sha256={'b' * 64}"}


def test_whatever_is_shown_is_escaped() -> None:
    file = pages.File(HOSTILE, f"/files/{HOSTILE}", HOSTILE, HOSTILE)
    report = pages.Report(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    for response in (
        pages.projects([HOSTILE], "/simple/"),
        pages.project(HOSTILE, [file]),
        pages.mismatches(HOSTILE, [report]),
    ):
        assert "script" not in Anchors(response).elements
        assert b"<script" not in response.body
        assert header(response, "Content-Security-Policy") == "default-src 'none'"
        assert header(response, "X-Content-Type-Options") == "nosniff"


def test_a_maintainer_reads_which_claim_differs() -> None:
    report = pages.Report("2026-11-22 08:00:00", "environment", "release", "staging")
    response = pages.mismatches("Sample", [report])
    cells = "<td>2026-11-22 08:00:00</td><td>environment</td><td>release</td><td>staging</td>"
    assert cells in response.body.decode()
    assert header(response, "Cache-Control") == "no-store"
