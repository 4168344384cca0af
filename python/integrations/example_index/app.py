"""The index over HTTP: uploads, the simple index (PEP 503 and 691), the maintainers' reports.

PEP 807's endpoints are the package's (`mintage.asgi`); here stands what every index has to do
itself around them.
"""

from __future__ import annotations

import html
import json
import uuid
from http import HTTPStatus
from pathlib import Path

from packaging.utils import canonicalize_name
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

import mintage
from mintage import Access, Project, Requester, Verification, pep807

from .database import Database, File, Taken
from .distribution import Distribution, Unacceptable
from .publishing import Client
from .server import REASON, reason_phrase

UPLOAD_PATH = "/legacy/"

MAX_UPLOAD = 100 * 1024 * 1024
"""Bytes of a whole upload request: more are refused before they fill the disk."""

MAX_FIELD = 4 * 1024 * 1024
"""Bytes of one field of an upload's form, a long description for instance."""

_SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_EXISTS = "This file already exists, and files never change; raise the version."


class ExampleIndex:
    """The index's own routes, over a folder for its files and a database."""

    def __init__(self, folder: Path, database: Database, client: Client) -> None:
        self._files = folder / "files"
        self._files.mkdir(parents=True, exist_ok=True)
        self._database = database
        self._client = client

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route(UPLOAD_PATH, self.upload, methods=["POST"]),
                Route("/simple/", self.simple),
                Route("/simple/{name}/", self.simple_project),
                Route("/files/{filename}", self.file),
                Route("/projects/{name}/publishing", self.reports),
            ],
            exception_handlers={HTTPException: _http_error, Exception: _defect},
            max_body_size=MAX_UPLOAD,
        )

    async def upload(self, request: Request) -> Response:
        """The upload API that uv, twine and pdm speak."""
        token = pep807.upload_token(request.headers.get("authorization"))
        if token is None:
            return _packages(pep807.refused())
        async with request.form(max_files=2, max_part_size=MAX_FIELD) as form:
            try:
                distribution = await run_in_threadpool(Distribution.of_form, form)
            except Unacceptable as unacceptable:
                return problem(400, str(unacceptable))
            return await self._upload(request, token, distribution)

    async def _upload(self, request: Request, token: str, distribution: Distribution) -> Response:
        project = self._database.project(distribution.name)
        if project is None:
            return problem(403, "There is no such project here; register a publisher for it.")
        # Before Verify, so that it costs nobody the use of a single-use token.
        if self._database.file(distribution.filename) is not None:
            return problem(400, _EXISTS)
        access = self._access(project, "upload", distribution)
        verification = await self._verify(request, token, access)
        if isinstance(verification, Response):
            return verification
        if not self._may_publish(verification, project):
            return problem(403, "The token's user does not maintain this project.")
        file = File(distribution.filename, distribution.sha256.hex())
        await run_in_threadpool(distribution.save, self._files / file.sha256)
        try:
            self._database.add_file(project, file)
        except Taken:
            return problem(400, _EXISTS)
        return Response()

    def _access(
        self, project: Project, action: str, distribution: Distribution | None = None
    ) -> Access:
        publisher_ids = self._database.publisher_ids(project)
        if distribution is None:
            return Access(project=project, publisher_ids=publisher_ids, action=action)
        return Access(
            project=project,
            publisher_ids=publisher_ids,
            version=distribution.version,
            filename=distribution.filename,
            sha256=distribution.sha256,
            action=action,
        )

    async def _verify(
        self, request: Request, token: str, access: Access
    ) -> Verification | Response:
        """Mintage's yes, or the answer to give in place of one."""
        try:
            # One id for each HTTP request: should the call be repeated, a use is spent once.
            verification = await self._client.verify(
                token, access, requester=_requester(request), request_id=uuid.uuid4().hex
            )
        except mintage.Error as error:
            return _packages(pep807.refused(error))
        return verification if verification.allowed else _packages(pep807.refused(verification))

    def _may_publish(self, verification: Verification, project: Project) -> bool:
        """Whether the token's user is one of the project's, or a CI job's publisher is at work.

        Mintage knows whose token it is and, for a publisher, has held it against
        `publisher_ids`. Who maintains what, only the index knows.
        """
        subject = verification.token.subject if verification.token else None
        if subject is None:
            return False
        if subject.user_id is None:
            return True
        return self._database.maintains(subject.user_id, project)

    async def reports(self, request: Request) -> Response:
        """Why CI jobs were refused lately, for those who maintain the project."""
        token = pep807.upload_token(request.headers.get("authorization"))
        if token is None:
            return _packages(pep807.refused())
        project = self._project(request)
        verification = await self._verify(request, token, self._access(project, "read-reports"))
        if isinstance(verification, Response):
            return verification
        is_user = verification.token and verification.token.subject.user_id is not None
        if not is_user or not self._may_publish(verification, project):
            return problem(403, "Only the project's maintainers read this.")
        rows = [
            (report.at, report.claim, report.expected, report.found)
            for report in self._database.reports(project)
        ]
        return HTMLResponse(_report_page(project.name, rows), headers={"Cache-Control": "no-store"})

    def simple(self, request: Request) -> Response:
        projects = self._database.projects()
        if _wants_json(request):
            names = [{"name": project.name} for project in projects]
            return _simple_json({"meta": {"api-version": "1.0"}, "projects": names})
        links = [(f"/simple/{canonicalize_name(p.name)}/", p.name) for p in projects]
        return _simple_html("Simple index", links)

    def simple_project(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name != canonicalize_name(name):
            return RedirectResponse(f"/simple/{canonicalize_name(name)}/", status_code=301)
        files = self._database.files(self._project(request))
        if _wants_json(request):
            entries = [
                {
                    "filename": file.filename,
                    "url": f"/files/{file.filename}",
                    "hashes": {"sha256": file.sha256},
                }
                for file in files
            ]
            return _simple_json({"meta": {"api-version": "1.0"}, "name": name, "files": entries})
        links = [(f"/files/{file.filename}#sha256={file.sha256}", file.filename) for file in files]
        return _simple_html(f"Links for {name}", links)

    def file(self, request: Request) -> Response:
        file = self._database.file(request.path_params["filename"])
        if file is None:
            raise HTTPException(404)
        return FileResponse(self._files / file.sha256, media_type="application/octet-stream")

    def _project(self, request: Request) -> Project:
        project = self._database.project(request.path_params["name"])
        if project is None:
            raise HTTPException(404)
        return project


def problem(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """A no that people and programs can read: RFC 9457, and the sentence as reason phrase."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": sentence}
    return JSONResponse(
        body | {"message": sentence, "errors": [{"code": "refused", "description": sentence}]},
        status_code=status,
        media_type="application/problem+json",
        headers={REASON: reason_phrase(sentence)} | (headers or {}),
    )


def _packages(answer: pep807.Response) -> Response:
    """An answer of the package `mintage`, with its sentence as reason phrase."""
    headers = dict(answer.headers) | {REASON: reason_phrase(answer.sentence)}
    return Response(answer.body, answer.status, headers)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail)


def _defect(request: Request, error: Exception) -> Response:
    # Starlette raises the error once more after this, for the log, and uvicorn hangs up.
    sentence = "The index has a defect here; its operators can see it in their log."
    return problem(500, sentence, {"Connection": "close"})


def _requester(request: Request) -> Requester:
    ip = request.client.host if request.client else ""
    return Requester(ip=ip, user_agent=request.headers.get("user-agent", "")[:512])


def _wants_json(request: Request) -> bool:
    return _SIMPLE_JSON in request.headers.get("accept", "")


def _simple_json(document: dict[str, object]) -> Response:
    return Response(json.dumps(document), media_type=_SIMPLE_JSON, headers={"Vary": "Accept"})


def _simple_html(title: str, links: list[tuple[str, str]]) -> Response:
    rows = "".join(f'<a href="{html.escape(url)}">{html.escape(text)}</a><br>\n' for url, text in links)
    head = f"<!DOCTYPE html><title>{html.escape(title)}</title>\n"
    return HTMLResponse(
        f'{head}<meta name="pypi:repository-version" content="1.0">\n{rows}',
        headers={"Vary": "Accept"},
    )


def _report_page(project: str, rows: list[tuple[str, ...]]) -> str:
    heading = f"Refused trusted publishing: {html.escape(project)}"
    columns = ("when (UTC)", "claim of the ID token", "registered", "the job's")
    cells = [f"<tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr>"]
    cells += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    table = "\n".join(cells)
    advice = "<p>Change the publisher or the workflow so that both say the same."
    return f"<!DOCTYPE html><title>{heading}</title>\n<h1>{heading}</h1>\n{advice}\n<table>\n{table}\n</table>\n"
