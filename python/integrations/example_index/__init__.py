"""A small Python package index with trusted publishing, to read and to copy from.

What stands here is an index's own part: who may publish what, and where the files are. Whatever
concerns tokens is Mintage's; PEP 807, reading forms, refusals and pages are the package's.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import mintage.aio
import mintage.asgi
from mintage import Access, Mismatch, Project, Publisher, pages, pep807, rows, uploads

DATABASE = Path(os.environ.get("INDEX_DATABASE", "index.sqlite"))
MINTAGE = os.environ.get("INDEX_MINTAGE", "127.0.0.1:50051")
UPLOAD_PATH = "/legacy/"
MAX_UPLOAD = 100 * 1024 * 1024  # bytes of a request: more are refused before they are read
MAX_FIELD = 4 * 1024 * 1024  # bytes of one field of a form, a long description for instance
KEPT_REPORTS = 20  # for each project: whoever runs jobs under its owner's name can cause them

# No id is ever used twice, since a token may name a project or a publisher that is gone.
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS projects (
    id TEXT PRIMARY KEY DEFAULT (hex(randomblob(8))), name TEXT, normalized TEXT UNIQUE, user TEXT);
CREATE TABLE IF NOT EXISTS publishers (
    id TEXT PRIMARY KEY DEFAULT (hex(randomblob(8))), issuer TEXT, owner TEXT, identity TEXT,
    UNIQUE (issuer, identity));
CREATE TABLE IF NOT EXISTS registered (  -- pending where there is no project yet
    publisher TEXT, name TEXT, normalized TEXT, user TEXT, project TEXT,
    UNIQUE (publisher, normalized));
CREATE TABLE IF NOT EXISTS files (
    filename TEXT PRIMARY KEY, sha256 TEXT, project TEXT, content BLOB);
CREATE TABLE IF NOT EXISTS reports (
    at TEXT DEFAULT CURRENT_TIMESTAMP, claim TEXT, expected TEXT, found TEXT, project TEXT);
CREATE TRIGGER IF NOT EXISTS forget AFTER INSERT ON reports BEGIN
    DELETE FROM reports WHERE project = new.project AND rowid NOT IN (SELECT rowid FROM reports
        WHERE project = new.project ORDER BY rowid DESC LIMIT {KEPT_REPORTS});
END;
"""


class Database:
    """What the index remembers. sqlite3.IntegrityError: there is a file of this name already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path)) as sql:
            sql.executescript(SCHEMA)

    def ask(self, *queries: str, **values: object) -> list[Any]:
        """The rows of the last of these queries, which are one transaction."""
        with closing(sqlite3.connect(self._path, timeout=10)) as sql, sql:
            return [sql.execute(query, values).fetchall() for query in queries][-1]

    def project(self, name: str) -> Project | None:
        query = "SELECT id, name FROM projects WHERE normalized = :normalized"
        found = self.ask(query, normalized=canonicalize_name(name))
        return Project(*found[0]) if found else None

    def maintains(self, user: str, project: Project) -> bool:
        query = "SELECT 1 FROM projects WHERE id = :id AND user = :user"
        return bool(self.ask(query, id=project.id, user=user))

    def register(
        self, name: str, user: str, issuer: str, identity: mintage.ProviderIdentity
    ) -> None:
        """This publisher may upload to the project from now on. Where there is none yet it is
        pending: it may create the project, which will be the user's."""
        who = {"issuer": issuer, "owner": rows.owner(identity), "identity": rows.to_text(identity)}
        project = {"name": name, "normalized": canonicalize_name(name, validate=True), "user": user}
        self.ask(
            "INSERT OR IGNORE INTO publishers (issuer, owner, identity)"
            " VALUES (:issuer, :owner, :identity)",
            "INSERT OR REPLACE INTO registered SELECT id, :name, :normalized, :user,"
            " (SELECT id FROM projects WHERE normalized = :normalized)"
            " FROM publishers WHERE issuer = :issuer AND identity = :identity",
            **who,
            **project,
        )

    def find_publishers(self, claims: Mapping[str, Any]) -> list[Publisher]:
        """Whom an ID token may be of, by claims that nobody has verified yet."""
        where = "issuer = :issuer AND owner IN (SELECT value FROM json_each(:owners))"
        issuer, owners = str(claims.get("iss")), json.dumps(rows.owners(claims))
        return rows.likeliest(self._publishers(where, issuer=issuer, owners=owners), claims)

    def _publishers(self, where: str, **values: str) -> list[Publisher]:
        projects = (
            "SELECT json_group_array(json_array(project, projects.name)) FROM registered"
            " LEFT JOIN projects ON projects.id = project WHERE publisher = publishers.id"
        )
        query = f"SELECT id, issuer, identity, ({projects}) FROM publishers WHERE {where}"
        found = []
        for id, issuer, identity, registered in self.ask(query, **values):
            pairs = json.loads(registered)
            kind = pep807.PendingPublisher if [None, None] in pairs else Publisher
            theirs = tuple(Project(*pair) for pair in pairs if pair != [None, None])
            found.append(kind(id, issuer, rows.of_text(identity), theirs))
        return found

    def create_pending(self, publisher: Publisher) -> Publisher:
        """Creates what a publisher waits for; a name that somebody has taken stays theirs."""
        pending = "registered WHERE publisher = :id AND project IS NULL"
        project = "(SELECT id FROM projects WHERE normalized = registered.normalized)"
        self.ask(
            f"DELETE FROM {pending} AND EXISTS {project}",
            "INSERT INTO projects (name, normalized, user)"
            f" SELECT name, normalized, user FROM {pending}",
            f"UPDATE registered SET project = {project} WHERE publisher = :id AND project IS NULL",
            id=publisher.id,
        )
        return self._publishers("id = :id", id=publisher.id)[0]

    def publisher_ids(self, project: Project) -> list[str]:
        """Who is registered to the project at this moment."""
        query = "SELECT publisher FROM registered WHERE project = :id"
        return [id for (id,) in self.ask(query, id=project.id)]

    def report(self, mismatch: Mismatch) -> None:
        """For those who maintain the projects that the publisher is registered to."""
        self.ask(
            "INSERT INTO reports (claim, expected, found, project)"
            " SELECT :claim, :expected, :found, project FROM registered"
            " WHERE publisher = :publisher_id AND project IS NOT NULL",
            **vars(mismatch),
        )


def application() -> mintage.asgi.Application:
    """The index over HTTP: `uvicorn --factory example_index:application`. PEP 807's endpoints are
    the package's."""
    database = Database(DATABASE)
    # One address: there is no healthier replica, and what works without the store is to go on.
    client = mintage.aio.Client(MINTAGE, health_checks=False)
    index = pep807.Index(
        UPLOAD_PATH,
        audience="pypi",  # as in Mintage's configuration
        find_publishers=database.find_publishers,
        features=(mintage.MULTI_USE, mintage.SINGLE_USE),
        create_pending=database.create_pending,
        report_mismatch=database.report,
    )
    views = Views(database, client)
    routes = [
        Route(UPLOAD_PATH, views.upload, methods=["POST"]),
        Route("/simple/", views.projects),
        Route("/simple/{name}/", views.files),
        Route("/files/{filename}", views.file),
        Route("/projects/{name}/publishing", views.reports),
    ]
    refusals = (uploads.NotAdmitted, sqlite3.IntegrityError, HTTPException, Exception)
    own = Starlette(routes=routes, exception_handlers=dict.fromkeys(refusals, _refuse))
    return mintage.asgi.Application(client, [index], own)


@dataclass(frozen=True)
class Views:
    """The index's own pages. Refusals are raised, and become answers in `_refuse`."""

    database: Database
    client: mintage.aio.Client

    async def upload(self, request: Request) -> Response:
        """The upload API that uv, twine and pdm speak."""
        token = uploads.credentials(request.headers.get("authorization"))
        uploads.hold_length(request.headers.get("content-length"), MAX_UPLOAD)
        async with request.form(max_files=2, max_part_size=MAX_FIELD) as form:
            upload, access = await run_in_threadpool(self._wanted, form)
            await self._hold_to(token, access, request)
            await run_in_threadpool(self._store, upload, access)
        return Response()

    def _wanted(self, form: FormData) -> tuple[uploads.Upload, Access]:
        """What the bearer wants to do, as far as it can be done at all."""
        upload = uploads.read_mixed(form.multi_items())
        if not upload.filename.endswith((".whl", ".tar.gz")):
            raise uploads.mistaken("the file's name isn't that of a wheel or a .tar.gz sdist")
        if form.get("sha256_digest", upload.sha256.hex()) != upload.sha256.hex():
            raise uploads.mistaken("the file isn't the one that was sent: its SHA-256 differs")
        project = self.database.project(upload.project)
        if project is None:
            raise HTTPException(403, "There is no such project; register a publisher for it.")
        # Before Verify, so that it costs nobody the use of a single-use token.
        if self.database.ask("SELECT 1 FROM files WHERE filename = :name", name=upload.filename):
            raise sqlite3.IntegrityError
        return upload, upload.access(project, self.database.publisher_ids(project))

    async def _hold_to(self, token: str, access: Access, request: Request) -> None:
        """Mintage says whose token it is, and the index which user maintains the project."""
        maintains, who = self.database.maintains, mintage.asgi.requester(request.scope)
        await uploads.async_bearer(self.client, token, access, maintains=maintains, requester=who)

    def _store(self, upload: uploads.Upload, access: Access) -> None:
        assert access.project is not None
        query = "INSERT INTO files VALUES (:name, :sha256, :project, :content)"
        file = {"name": upload.filename, "sha256": upload.sha256.hex()}
        self.database.ask(query, **file, project=access.project.id, content=upload.content.read())

    def projects(self, request: Request) -> Response:
        names = self.database.ask("SELECT name FROM projects ORDER BY normalized")
        accept = request.headers.get("accept")
        return _answer(pages.projects([name for (name,) in names], "/simple/", accept))

    def files(self, request: Request) -> Response:
        project = self._project(request)
        query = "SELECT filename, '/files/' || filename, sha256 FROM files WHERE project = :id"
        files = [pages.File(*row) for row in self.database.ask(query, id=project.id)]
        return _answer(pages.project(project.name, files, request.headers.get("accept")))

    def file(self, request: Request) -> Response:
        query = "SELECT content FROM files WHERE filename = :name"
        found = self.database.ask(query, name=request.path_params["filename"])
        if not found:
            raise HTTPException(404)
        return Response(found[0][0], media_type="application/octet-stream")

    async def reports(self, request: Request) -> Response:
        """Why CI jobs were refused lately, for those who maintain the project."""
        token = uploads.credentials(request.headers.get("authorization"))
        project = await run_in_threadpool(self._project, request)
        # Without publishers: so a publisher's token is no good, whatever it was minted for.
        await self._hold_to(token, Access(project, action="read-reports"), request)
        query = "SELECT at, claim, expected, found FROM reports WHERE project = :id"
        latest = f"{query} ORDER BY rowid DESC"
        found = await run_in_threadpool(self.database.ask, latest, id=project.id)
        return _answer(pages.mismatches(project.name, [pages.Report(*row) for row in found]))

    def _project(self, request: Request) -> Project:
        project = self.database.project(request.path_params["name"])
        if project is None:
            raise HTTPException(404)
        return project


def _answer(answer: pep807.Response) -> Response:
    return Response(answer.body, answer.status, mintage.asgi.headers(answer))


def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, sqlite3.IntegrityError):
        sentence = "This file already exists, and files never change; raise the version."
        error = HTTPException(400, sentence)
    return _answer(mintage.asgi.refusal(error))
