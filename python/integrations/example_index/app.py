"""The index over HTTP: uploads, the simple index (PEP 503 and 691), the maintainers' reports.

PEP 807's endpoints are the package's (`mintage.asgi`); here stands what every index has to do
itself around them.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from packaging.utils import canonicalize_name
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

import mintage
from mintage import Access, Project, Requester, Verification, pep807

from . import answers
from .answers import Refusal, problem
from .database import Database, File, Taken
from .distribution import Distribution, Unacceptable
from .publishing import Client

UPLOAD_PATH = "/legacy/"

MAX_UPLOAD = 100 * 1024 * 1024
"""Bytes of a whole upload request: more are refused before they fill the disk."""

MAX_FIELD = 4 * 1024 * 1024
"""Bytes of one field of an upload's form, a long description for instance."""


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
            exception_handlers={
                Refusal: answers.of_refusal,
                Taken: answers.of_taken,
                HTTPException: answers.of_http_error,
                Exception: answers.of_defect,
            },
        )

    async def upload(self, request: Request) -> Response:
        """The upload API that uv, twine and pdm speak."""
        token = _upload_token(request)
        _hold_length(request)
        async with request.form(max_files=2, max_part_size=MAX_FIELD) as form:
            distribution, access = await run_in_threadpool(self._wanted, form)
            verification = await self._verified(request, token, access)
            await run_in_threadpool(self._store, verification, access, distribution)
        return Response()

    def _wanted(self, form: FormData) -> tuple[Distribution, Access]:
        """What the bearer wants to do, as far as it can be done at all."""
        try:
            distribution = Distribution.of_form(form)
        except Unacceptable as unacceptable:
            raise Refusal(problem(400, str(unacceptable))) from unacceptable
        project = self._database.project(distribution.name)
        if project is None:
            raise Refusal(problem(403, "There is no such project; register a publisher for it."))
        # Before Verify, so that it costs nobody the use of a single-use token.
        if self._database.file(distribution.filename) is not None:
            raise Taken
        return distribution, Access(
            project=project,
            publisher_ids=self._database.publisher_ids(project),
            version=distribution.version,
            filename=distribution.filename,
            sha256=distribution.sha256,
        )

    def _store(
        self, verification: Verification, access: Access, distribution: Distribution
    ) -> None:
        # For a publisher's token, Mintage has held it against `publisher_ids`.
        if not _of_publisher(verification) and not self._of_maintainer(verification, access):
            raise Refusal(problem(403, "The token's user does not maintain this project."))
        assert access.project is not None
        file = File(distribution.filename, distribution.sha256.hex(), uuid.uuid4().hex)
        path = self._files / file.stored_as
        try:
            distribution.save(path)
            self._database.add_file(access.project, file)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    async def _verified(self, request: Request, token: str, access: Access) -> Verification:
        """Mintage's yes; its no is a Refusal."""
        requester = Requester(
            ip=request.client.host if request.client else "",
            user_agent=request.headers.get("user-agent", "")[:512],
        )
        try:
            # One id for each HTTP request: should the call be repeated, a use is spent once.
            verification = await self._client.verify(
                token, access, requester=requester, request_id=uuid.uuid4().hex
            )
        except mintage.Error as error:
            raise Refusal(answers.packages(pep807.refused(error))) from error
        if not verification.allowed:
            raise Refusal(answers.packages(pep807.refused(verification)))
        return verification

    def _of_maintainer(self, verification: Verification, access: Access) -> bool:
        """Whether the token is that of a user who maintains the project.

        Whose token it is, Mintage knows; who maintains what, only the index does.
        """
        subject = verification.token.subject if verification.token else None
        if subject is None or subject.user_id is None or access.project is None:
            return False
        return self._database.maintains(subject.user_id, access.project)

    async def reports(self, request: Request) -> Response:
        """Why CI jobs were refused lately, for those who maintain the project."""
        token = _upload_token(request)
        project = await run_in_threadpool(self._project, request)
        access = Access(project=project, action="read-reports")
        verification = await self._verified(request, token, access)
        return await run_in_threadpool(self._report_page, verification, access, project)

    def _report_page(
        self, verification: Verification, access: Access, project: Project
    ) -> Response:
        if not self._of_maintainer(verification, access):
            raise Refusal(problem(403, "Only a maintainer of this project reads this."))
        return answers.report_page(project.name, self._database.reports(project))

    def simple(self, request: Request) -> Response:
        projects = self._database.projects()
        if answers.wants_json(request):
            return answers.simple_json({"projects": [{"name": one.name} for one in projects]})
        links = [(f"/simple/{canonicalize_name(one.name)}/", one.name) for one in projects]
        return answers.simple_html("Simple index", links)

    def simple_project(self, request: Request) -> Response:
        name = canonicalize_name(request.path_params["name"])
        project = self._project(request)
        if name != request.path_params["name"]:
            return RedirectResponse(f"/simple/{name}/", status_code=301)
        files = [(f"/files/{one.filename}", one) for one in self._database.files(project)]
        if answers.wants_json(request):
            entries = [
                {"filename": one.filename, "url": url, "hashes": {"sha256": one.sha256}}
                for url, one in files
            ]
            return answers.simple_json({"name": name, "files": entries})
        links = [(f"{url}#sha256={one.sha256}", one.filename) for url, one in files]
        return answers.simple_html(f"Links for {project.name}", links)

    def file(self, request: Request) -> Response:
        file = self._database.file(request.path_params["filename"])
        if file is None:
            raise HTTPException(404)
        return FileResponse(self._files / file.stored_as, media_type="application/octet-stream")

    def _project(self, request: Request) -> Project:
        project = self._database.project(request.path_params["name"])
        if project is None:
            raise HTTPException(404)
        return project


def _upload_token(request: Request) -> str:
    token = pep807.upload_token(request.headers.get("authorization"))
    if token is None:
        raise Refusal(answers.packages(pep807.refused()))
    return token


def _hold_length(request: Request) -> None:
    """The server holds a request to the length that it announces."""
    length = request.headers.get("content-length")
    if length is None:
        raise Refusal(problem(411, "The upload has to say how long it is."))
    if int(length) > MAX_UPLOAD:
        raise Refusal(problem(413, "The upload is larger than this index takes."))


def _of_publisher(verification: Verification) -> bool:
    subject = verification.token.subject if verification.token else None
    return subject is not None and subject.publisher_id is not None
