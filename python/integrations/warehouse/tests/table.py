"""Tables shaped like Warehouse's, and tokens as it has made them since 2019.

The columns are those of Warehouse's `macaroons`, in types that SQLite has too, with `token_id`
as `docs/warehouse.md` adds it. Tokens are made with pymacaroons, which Warehouse uses.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import secrets
import uuid
from typing import Any

import pymacaroons
from sqlalchemy import JSON, CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


@dataclasses.dataclass
class Request:
    """What the adapter reads of a Pyramid request."""

    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    remote_addr: str = "192.0.2.1"
    user_agent: str = "tests"


class Base(DeclarativeBase):
    """The database of the tests."""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


class Macaroon(Base):
    """Warehouse's model, column for column."""

    __tablename__ = "macaroons"
    __table_args__ = (
        UniqueConstraint("description", "user_id"),
        CheckConstraint("(user_id IS NULL) <> (oidc_publisher_id IS NULL)"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID | None]
    oidc_publisher_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("publishers.id"))
    description: Mapped[str]
    created: Mapped[datetime.datetime] = mapped_column(default=_now)
    last_used: Mapped[datetime.datetime | None]
    permissions_caveat: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    caveats: Mapped[Any] = mapped_column(JSON, default=dict)
    additional: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    key: Mapped[bytes] = mapped_column(LargeBinary, default=lambda: secrets.token_bytes(32))
    token_id: Mapped[str | None] = mapped_column(unique=True, index=True, default=None)


class Registration(Base):
    """Which publisher may upload to which project."""

    __tablename__ = "oidc_publisher_project_association"

    oidc_publisher_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("publishers.id"), primary_key=True
    )
    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)


class Publisher(Base):
    """A GitHub publisher, pending or not: Warehouse's two tables of them in one."""

    __tablename__ = "publishers"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    discriminator: Mapped[str] = mapped_column(default="github_oidc_publishers")
    repository_owner: Mapped[str] = mapped_column(default="octo")
    repository_owner_id: Mapped[str] = mapped_column(default="1")
    repository_name: Mapped[str] = mapped_column(default="sampleproject")
    workflow_filename: Mapped[str] = mapped_column(default="release.yml")
    environment: Mapped[str] = mapped_column(default="")
    project_name: Mapped[str | None]
    projects: Mapped[list[Project]] = relationship(
        secondary=Registration.__table__, back_populates="oidc_publishers"
    )


class Project(Base):
    """A project."""

    __tablename__ = "projects"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str]
    oidc_publishers: Mapped[list[Publisher]] = relationship(
        secondary=Registration.__table__, back_populates="projects"
    )


def token(
    row: Macaroon,
    *caveats: str | bytes | dict[str, Any] | list[Any],
    version: int = pymacaroons.MACAROON_V2,
    key: bytes | None = None,
    identifier: str | None = None,
) -> str:
    """A token of this row's, as Warehouse wrote it: dicts with spaces, arrays without."""
    macaroon = pymacaroons.Macaroon(
        location="pypi.org",
        identifier=identifier or str(row.id),
        key=key or row.key,
        version=version,
    )
    for caveat in caveats:
        macaroon.add_first_party_caveat(predicate(caveat))
    return f"pypi-{macaroon.serialize()}"


def predicate(caveat: Any) -> str:
    """A caveat as it stands in a token."""
    if isinstance(caveat, dict):
        return json.dumps(caveat)
    if isinstance(caveat, list):
        return json.dumps(caveat, sort_keys=True, separators=(",", ":"))
    return caveat.decode("utf-8") if isinstance(caveat, bytes) else str(caveat)


def add(db: Session, **columns: Any) -> Macaroon:
    """A new row, written."""
    row = Macaroon(description=str(uuid.uuid4()), **columns)
    db.add(row)
    db.flush()
    return row
