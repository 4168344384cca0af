"""What the index remembers, in one SQLite file: projects, maintainers, publishers, files, reports.

It decides nothing about tokens. Ids are never used twice (AUTOINCREMENT), since a token that is
still good may name a project or a publisher that is gone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from mintage import GitHub, GitLab, Mismatch, Project, Publisher

MAX_CANDIDATES = 256
"""As many publishers as one Mint takes."""

KEPT_REPORTS = 20
"""Reports kept for a project: whoever runs jobs under its owner's name can cause them."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS projects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, normalized TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS maintainers (
    project_id INTEGER REFERENCES projects, user TEXT, PRIMARY KEY (project_id, user));
CREATE TABLE IF NOT EXISTS publishers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, issuer TEXT, owner TEXT, repository TEXT,
    identity TEXT, UNIQUE (issuer, owner, repository, identity));
CREATE TABLE IF NOT EXISTS registered (
    publisher_id INTEGER REFERENCES publishers, project_id INTEGER REFERENCES projects,
    PRIMARY KEY (publisher_id, project_id));
CREATE TABLE IF NOT EXISTS pending (
    publisher_id INTEGER REFERENCES publishers, name TEXT, user TEXT NOT NULL,
    PRIMARY KEY (publisher_id, name));
CREATE TABLE IF NOT EXISTS files (
    filename TEXT PRIMARY KEY, sha256 TEXT NOT NULL, stored_as TEXT NOT NULL UNIQUE,
    project_id INTEGER NOT NULL REFERENCES projects);
CREATE TABLE IF NOT EXISTS reports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    project_id INTEGER REFERENCES projects, claim TEXT, expected TEXT, found TEXT);
"""


class Taken(Exception):
    """There is a project or a file of this name already."""


@dataclass(frozen=True)
class File:
    """An uploaded file. `stored_as` is what the index calls it on its disk."""

    filename: str
    sha256: str
    stored_as: str


@dataclass(frozen=True)
class Report:
    """Why a CI job was not taken for a publisher of a project."""

    at: str
    claim: str
    expected: str
    found: str


class Database:
    """The index's memory. Each method is one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as sql:
            sql.executescript(_SCHEMA)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10)) as sql, sql:
            yield sql

    def projects(self) -> list[Project]:
        with self._transaction() as sql:
            rows = sql.execute("SELECT id, name FROM projects ORDER BY normalized")
            return [Project(str(id), name) for id, name in rows]

    def project(self, name: str) -> Project | None:
        """The project of this name, however it is spelt."""
        with self._transaction() as sql:
            return _project(sql, name)

    def create_project(self, name: str, user: str) -> Project:
        """A new project and its first maintainer. Raises Taken, and packaging's InvalidName."""
        with self._transaction() as sql:
            return _create_project(sql, name, user)

    def maintains(self, user: str, project: Project) -> bool:
        with self._transaction() as sql:
            query = "SELECT 1 FROM maintainers WHERE project_id = ? AND user = ?"
            return sql.execute(query, (project.id, user)).fetchone() is not None

    def register(self, project: Project, issuer: str, identity: GitHub | GitLab) -> None:
        """From now on this publisher may upload to the project."""
        with self._transaction() as sql:
            pair = (_publisher_id(sql, issuer, identity), project.id)
            sql.execute("INSERT OR IGNORE INTO registered VALUES (?, ?)", pair)

    def register_pending(
        self, name: str, user: str, issuer: str, identity: GitHub | GitLab
    ) -> None:
        """This publisher may create the project, which will be the user's. Raises Taken, and
        packaging's InvalidName."""
        canonicalize_name(name, validate=True)
        with self._transaction() as sql:
            if _project(sql, name) is not None:
                raise Taken
            row = (_publisher_id(sql, issuer, identity), name, user)
            sql.execute("INSERT OR IGNORE INTO pending VALUES (?, ?, ?)", row)

    def create_pending(self, publisher_id: str) -> None:
        """A pending publisher has shown who it is: what it waited for is created now.

        A name that somebody has taken meanwhile stays theirs.
        """
        with self._transaction() as sql:
            query = "DELETE FROM pending WHERE publisher_id = ? RETURNING name, user"
            for name, user in sql.execute(query, (publisher_id,)).fetchall():
                try:
                    pair = (publisher_id, _create_project(sql, name, user).id)
                except Taken:
                    continue
                sql.execute("INSERT INTO registered VALUES (?, ?)", pair)

    def is_pending(self, publisher_id: str) -> bool:
        with self._transaction() as sql:
            query = "SELECT 1 FROM pending WHERE publisher_id = ?"
            return sql.execute(query, (publisher_id,)).fetchone() is not None

    def projects_of(self, publisher_id: str) -> tuple[Project, ...]:
        with self._transaction() as sql:
            return _projects_of(sql, publisher_id)

    def publisher_ids(self, project: Project) -> tuple[str, ...]:
        """Who is registered to the project at this moment."""
        with self._transaction() as sql:
            query = "SELECT publisher_id FROM registered WHERE project_id = ?"
            return tuple(str(id) for (id,) in sql.execute(query, (project.id,)))

    def find_publishers(self, claims: Mapping[str, Any]) -> list[Publisher]:
        """Whom an ID token may be of, by claims that nobody has verified yet.

        All of the same owner are candidates, so that a report can say that the repository is
        another one; those of the very repository come first, for owners of more than one
        Mint takes. Which of them it is, Mintage finds out.
        """
        owner, _, repository = str(
            claims.get("repository") or claims.get("project_path") or ""
        ).lower().rpartition("/")
        with self._transaction() as sql:
            rows = sql.execute(
                "SELECT id, issuer, identity FROM publishers WHERE issuer = ? AND owner = ?"
                " ORDER BY repository = ? DESC, id LIMIT ?",
                (str(claims.get("iss")), owner, repository, MAX_CANDIDATES),
            ).fetchall()
            return [
                Publisher(str(id), issuer, _identity(identity), _projects_of(sql, id))
                for id, issuer, identity in rows
            ]

    def add_file(self, project: Project, file: File) -> None:
        """Raises Taken, whatever the bytes: a file never changes."""
        with self._transaction() as sql:
            try:
                row = (file.filename, file.sha256, file.stored_as, project.id)
                sql.execute("INSERT INTO files VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                raise Taken from error

    def file(self, filename: str) -> File | None:
        with self._transaction() as sql:
            query = "SELECT filename, sha256, stored_as FROM files WHERE filename = ?"
            row = sql.execute(query, (filename,)).fetchone()
            return File(*row) if row else None

    def files(self, project: Project) -> list[File]:
        with self._transaction() as sql:
            query = (
                "SELECT filename, sha256, stored_as FROM files WHERE project_id = ?"
                " ORDER BY filename"
            )
            return [File(*row) for row in sql.execute(query, (project.id,))]

    def report(self, mismatch: Mismatch) -> None:
        """Keeps a mismatch for each project of the publisher, and forgets the oldest ones."""
        with self._transaction() as sql:
            for project in _projects_of(sql, mismatch.publisher_id):
                sql.execute(
                    "INSERT INTO reports (project_id, claim, expected, found) VALUES (?, ?, ?, ?)",
                    (project.id, mismatch.claim, mismatch.expected, mismatch.found),
                )
                sql.execute(
                    "DELETE FROM reports WHERE project_id = ?1 AND id NOT IN (SELECT id FROM"
                    " reports WHERE project_id = ?1 ORDER BY id DESC LIMIT ?2)",
                    (project.id, KEPT_REPORTS),
                )

    def reports(self, project: Project) -> list[Report]:
        with self._transaction() as sql:
            query = (
                "SELECT at, claim, expected, found FROM reports WHERE project_id = ?"
                " ORDER BY id DESC"
            )
            return [Report(*row) for row in sql.execute(query, (project.id,))]


def _project(sql: sqlite3.Connection, name: str) -> Project | None:
    query = "SELECT id, name FROM projects WHERE normalized = ?"
    row = sql.execute(query, (canonicalize_name(name),)).fetchone()
    return Project(str(row[0]), row[1]) if row else None


def _create_project(sql: sqlite3.Connection, name: str, user: str) -> Project:
    try:
        row = (name, canonicalize_name(name, validate=True))
        cursor = sql.execute("INSERT INTO projects (name, normalized) VALUES (?, ?)", row)
    except sqlite3.IntegrityError as error:
        raise Taken from error
    sql.execute("INSERT INTO maintainers VALUES (?, ?)", (cursor.lastrowid, user))
    return Project(str(cursor.lastrowid), name)


def _projects_of(sql: sqlite3.Connection, publisher_id: str) -> tuple[Project, ...]:
    query = (
        "SELECT id, name FROM projects JOIN registered ON project_id = id"
        " WHERE publisher_id = ? ORDER BY id"
    )
    return tuple(Project(str(id), name) for id, name in sql.execute(query, (publisher_id,)))


def _publisher_id(sql: sqlite3.Connection, issuer: str, identity: GitHub | GitLab) -> int:
    """One row for one identity: a repository that holds two projects gets one token for both."""
    match identity:
        case GitHub(owner, _, repository):
            kind = "github"
        case GitLab(owner, repository):
            kind = "gitlab"
    fields = json.dumps({"kind": kind, **asdict(identity)}, sort_keys=True)
    row = (issuer, owner.lower(), repository.lower(), fields)
    sql.execute(
        "INSERT OR IGNORE INTO publishers (issuer, owner, repository, identity)"
        " VALUES (?, ?, ?, ?)",
        row,
    )
    query = (
        "SELECT id FROM publishers WHERE issuer = ? AND owner = ? AND repository = ?"
        " AND identity = ?"
    )
    return int(sql.execute(query, row).fetchone()[0])


def _identity(text: str) -> GitHub | GitLab:
    fields = json.loads(text)
    return GitHub(**fields) if fields.pop("kind") == "github" else GitLab(**fields)
