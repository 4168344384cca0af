"""Answers of the index: refusals, lists, the maintainers' page. What comes from elsewhere is
escaped, and no refusal repeats what was sent."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from mintage import pep807

from .database import Report
from .server import REASON, reason_phrase

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"


class Refusal(Exception):
    """A no, and the answer that says so."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """A no that people and programs can read: RFC 9457, and the sentence as reason phrase too."""
    body = {
        "detail": sentence,
        "status": status,
        "title": HTTPStatus(status).phrase,
        "type": "about:blank",
        "message": sentence,
        "errors": [{"code": "refused", "description": sentence}],
    }
    return JSONResponse(
        body,
        status_code=status,
        media_type="application/problem+json",
        headers={REASON: reason_phrase(sentence), **(headers or {})},
    )


def packages(answer: pep807.Response) -> Response:
    """An answer of the package `mintage`, with its sentence as reason phrase too."""
    headers = dict(answer.headers) | {REASON: reason_phrase(answer.sentence)}
    return Response(answer.body, answer.status, headers)


def of_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.answer


def of_taken(request: Request, error: Exception) -> Response:
    return problem(400, "This file already exists, and files never change; raise the version.")


def of_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, error.headers)


def of_defect(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this, for the log, and uvicorn then hangs up: tell it.
    sentence = "The index has a defect here; its operators can see it in their log."
    return problem(500, sentence, {"Connection": "close"})


def wants_json(request: Request) -> bool:
    return SIMPLE_JSON in request.headers.get("accept", "")


def simple_json(document: Mapping[str, object]) -> Response:
    document = {"meta": {"api-version": "1.0"}, **document}
    return Response(json.dumps(document), media_type=SIMPLE_JSON, headers={"Vary": "Accept"})


def simple_html(title: str, links: Iterable[tuple[str, str]]) -> Response:
    """A page of PEP 503; a link is its URL and its text."""
    escape = html.escape
    rows = [f'<a href="{escape(url)}">{escape(text)}</a><br>' for url, text in links]
    head = '<!DOCTYPE html>\n<meta name="pypi:repository-version" content="1.0">\n'
    body = "\n".join([f"<title>{escape(title)}</title>", *rows, ""])
    return HTMLResponse(head + body, headers={"Vary": "Accept"})


def report_page(project: str, reports: Iterable[Report]) -> Response:
    """Why jobs were not taken for a publisher of the project, in words that say what to change."""
    title = f"Refused trusted publishing: {html.escape(project)}"
    rows = [_row("th", "When (UTC)", "Claim", "Registered here", "The job's own")]
    rows += [_row("td", one.at, one.claim, one.expected, one.found) for one in reports]
    table = "\n".join(rows)
    advice = (
        "<p>A CI job got no upload token because it differs from the publishers of this project."
        " Register what the job has, or change the job to what is registered."
    )
    page = f"<!DOCTYPE html>\n<title>{title}</title>\n<h1>{title}</h1>\n{advice}\n"
    return HTMLResponse(
        f"{page}<table>\n{table}\n</table>\n", headers={"Cache-Control": "no-store"}
    )


def _row(cell: str, *texts: str) -> str:
    cells = "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in texts)
    return f"<tr>{cells}</tr>"
