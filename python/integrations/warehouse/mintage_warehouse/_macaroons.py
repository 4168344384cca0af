"""IMacaroonService: the upload tokens of users and publishers.

Every token has a row in the `macaroons` table, and is good only while the row is there: that is
what Warehouse's account page, its scanner for leaked tokens and its clean-up rely on. Two kinds
of rows stand side by side:

- *kept*: minted by Warehouse itself. The token's identifier is the row's id; root key and stored
  caveats go to Mintage with every Verify.
- *minted*: by Mintage. The token's identifier is in the row's column `token_id`; the row's key
  is never used.

It decides nothing about tokens itself, and catches no failure: where Mintage can't answer, the
upload has to end with 503, not go through.
"""

from __future__ import annotations

import datetime
import logging
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from sqlalchemy import select, update

from mintage import (
    Access,
    Caveat,
    Client,
    Error,
    KeptToken,
    Minted,
    Publisher,
    Reason,
    Refused,
    Subject,
    UserId,
    Verification,
)
from mintage.tokens import Token

from . import _stored
from ._errors import InvalidMacaroonError, InvalidPublisherError, ReusedTokenError
from ._requests import AccessOf, request_id, requester

_log = logging.getLogger(__name__)

_GONE = "deleted or nonexistent macaroon"


class Scope(Protocol):
    """One of Warehouse's caveats."""

    def __serialize__(self) -> Sequence[Any]: ...


class MintageMacaroonService:
    """Drop-in for `DatabaseMacaroonService`.

    `model` is Warehouse's `Macaroon` with the column `token_id` beside what it has, `access_of`
    tells what a request wants to do, and `index` names the index in Mintage's configuration.
    """

    def __init__(
        self, db: Any, client: Client, model: Any, access_of: AccessOf, *, index: str = ""
    ) -> None:
        self.db = db
        self._client = client
        self._model = model
        self._access_of = access_of
        self._index = index

    def find_macaroon(self, macaroon_id: str) -> Any | None:
        """The row with this id."""
        try:
            return self.db.get(self._model, uuid.UUID(macaroon_id))
        except ValueError:
            return None

    def find_from_raw(self, raw_macaroon: str | None) -> Any:
        """The row of a token. Its signature was not looked at: see `verify_signature_only`."""
        return self._row_of(_identifier(raw_macaroon))

    def find_userid(self, raw_macaroon: str | None) -> uuid.UUID | None:
        """The user of a token, under the same proviso."""
        try:
            user_id: uuid.UUID | None = self.find_from_raw(raw_macaroon).user_id
        except InvalidMacaroonError:
            return None
        return user_id

    def verify(self, raw_macaroon: str | None, request: Any, context: Any, permission: Any) -> bool:
        """True where the token is good for what the request wants; raises otherwise."""
        row = self.find_from_raw(raw_macaroon)
        answer = self._verify(raw_macaroon, row, request, self._access_of(context, permission))
        if not answer:
            raise _invalid(answer)
        self._touch(row)
        return True

    def shadow(
        self, raw_macaroon: str | None, request: Any, context: Any, permission: Any
    ) -> tuple[Reason, ...]:
        """What `verify` would raise, for comparing: none where the token is good. Nothing is
        spent and no row is written. Failures to answer are raised, as there."""
        access = self._access_of(context, permission)
        try:
            row = self.find_from_raw(raw_macaroon)
            answer = self._verify(raw_macaroon, row, request, access, dry_run=True)
        except InvalidMacaroonError as error:
            return error.reasons
        return tuple(denial.reason for denial in answer.denials)

    def verify_signature_only(self, raw_macaroon: str | None, request: Any = None) -> Any:
        """The row of a token whose signature holds, whatever its caveats say."""
        row = self.find_from_raw(raw_macaroon)
        answer = self._verify(raw_macaroon, row, request, Access(), dry_run=True)
        if answer.token is None:
            raise _invalid(answer)
        return row

    def create_macaroon(
        self,
        location: str,
        description: str,
        scopes: Sequence[Scope],
        *,
        user_id: uuid.UUID | None = None,
        oidc_publisher_id: str | None = None,
        additional: dict[str, Any] | None = None,
        id_token: str = "",
        publisher: Publisher | None = None,
        request: Any = None,
    ) -> tuple[str, Any]:
        """A new token and its row, which the caller's transaction has yet to commit.

        For a user as before. A publisher's needs the ID token and the candidate instead of
        scopes, which Mintage derives itself: this is where the ID token is redeemed.
        `location` is Mintage's to say, and ignored.
        """
        if user_id is not None and oidc_publisher_id is None:
            minted = self._mint_for_user(str(user_id), scopes, request)
        elif user_id is None and publisher is not None and publisher.id == oidc_publisher_id:
            minted = self._mint_for_publisher(id_token, publisher, request)
        else:
            raise TypeError("a token is either a user's, or a publisher's with its candidate")
        row = self._row_with(minted.token_id)
        if row is None:
            row = self._written(minted, user_id, oidc_publisher_id, description, additional)
        return minted.token, row

    def delete_macaroon(self, macaroon_id: str, *, cause: str = "") -> None:
        """Deletes the row, which ends the token, and revokes a minted one in Mintage too.

        A leaked token has to go whether or not Mintage can be reached, and without its row it is
        gone; the revocation is for whoever else verifies tokens of this index.
        """
        row = self.find_macaroon(macaroon_id)
        if row is None:
            return
        self.db.delete(row)
        self.db.flush()
        if row.token_id is not None:
            try:
                self._client.revoke(token_id=row.token_id, cause=cause, index=self._index)
            except Error as error:
                _log.warning("a deleted token was not revoked: %s", error.reason)

    def get_macaroon_by_description(self, user_id: uuid.UUID, description: str) -> Any | None:
        """The user's token with this description."""
        model = self._model
        wanted = select(model).where(model.user_id == user_id, model.description == description)
        return self.db.scalars(wanted).one_or_none()

    def _written(
        self,
        minted: Minted,
        user_id: uuid.UUID | None,
        oidc_publisher_id: str | None,
        description: str,
        additional: dict[str, Any] | None,
    ) -> Any:
        # The key column keeps its random default: no token is signed with it, so nobody can
        # make one for this row by way of Warehouse's own verification either.
        row = self._model(
            user_id=user_id,
            oidc_publisher_id=uuid.UUID(oidc_publisher_id) if oidc_publisher_id else None,
            description=description,
            permissions_caveat={"permissions": _permissions(minted.caveats)},
            caveats=_as_stored(minted.caveats),
            additional=additional,
            token_id=minted.token_id,
        )
        self.db.add(row)
        self.db.flush()
        return row

    def _row_with(self, token_id: str) -> Any | None:
        """The row of a token that Mintage has minted before: a client that lost the answer
        asks again, and gets the same token."""
        wanted = select(self._model).where(self._model.token_id == token_id)
        return self.db.scalars(wanted).one_or_none()

    def _row_of(self, identifier: str) -> Any:
        row_id = _as_row_id(identifier)
        row = self._row_with(identifier) if row_id is None else self.db.get(self._model, row_id)
        # A minted row's id is no token's identifier.
        if row is None or (row_id is not None and row.token_id is not None):
            raise InvalidMacaroonError(_GONE, Reason.TOKEN_REVOKED)
        return row

    def _verify(
        self, token: str | None, row: Any, request: Any, access: Access, *, dry_run: bool = False
    ) -> Verification:
        try:
            stored = _stored.read_all(row.caveats)
        except _stored.Unreadable as error:
            raise InvalidMacaroonError(str(error), Reason.CAVEAT_UNREADABLE) from error
        subject = _subject(row)
        answer = self._client.verify(
            token or "",
            access,
            stored_caveats=stored,
            kept=KeptToken(bytes(row.key), subject) if row.token_id is None else None,
            dry_run=dry_run,
            # A request is asked about more than once; a single-use token is spent once.
            request_id=getattr(request, "id", ""),
            requester=requester(request),
            index=self._index,
        )
        if answer.token is not None and answer.token.subject != subject:
            raise InvalidMacaroonError(_GONE, Reason.TOKEN_REVOKED)
        return answer

    def _touch(self, row: Any) -> None:
        # By a statement of its own, skipping a locked row, so that concurrent uploads with one
        # token don't wait for each other.
        model = self._model
        free = select(model.id).where(model.id == row.id).with_for_update(skip_locked=True)
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        self.db.execute(update(model).where(model.id.in_(free)).values(last_used=now))

    def _mint_for_user(self, user_id: str, scopes: Iterable[Scope], request: Any) -> Minted:
        caveats = [_stored.read(list(scope.__serialize__())) for scope in scopes]
        if any(isinstance(caveat, UserId) and caveat.id != user_id for caveat in caveats):
            raise TypeError("the scope names another user")
        # Mintage writes the user's caveat into each of their tokens.
        asked = [caveat for caveat in caveats if not isinstance(caveat, UserId)]
        return self._client.mint_for_user(
            user_id, caveats=asked, requester=requester(request), index=self._index
        )

    def _mint_for_publisher(self, id_token: str, publisher: Publisher, request: Any) -> Minted:
        asking = requester(request)
        try:
            return self._client.mint_for_publisher(
                id_token,
                [publisher],
                request_id=request_id(id_token, asking),
                requester=asking,
                index=self._index,
            )
        except Refused as refused:
            if refused.reason is Reason.ID_TOKEN_REUSED:
                raise ReusedTokenError(refused.message) from refused
            if refused.reason in (Reason.PUBLISHER_NOT_FOUND, Reason.NO_ELIGIBLE_PROJECT):
                raise InvalidPublisherError(refused.message) from refused
            raise


def _identifier(raw_macaroon: str | None) -> str:
    try:
        return Token.parse(raw_macaroon or "", prefix="pypi").identifier.decode("ascii")
    except ValueError as error:
        raise InvalidMacaroonError("malformed macaroon", Reason.TOKEN_MALFORMED) from error


def _as_row_id(identifier: str) -> uuid.UUID | None:
    try:
        row_id = uuid.UUID(identifier)
    except ValueError:
        return None
    # `UUID` reads other spellings too, which Warehouse never wrote.
    return row_id if str(row_id) == identifier else None


def _subject(row: Any) -> Subject:
    if row.user_id is not None:
        return Subject(user_id=str(row.user_id))
    return Subject(publisher_id=str(row.oidc_publisher_id))


def _invalid(answer: Verification) -> InvalidMacaroonError:
    message = ", ".join(denial.message for denial in answer.denials)
    return InvalidMacaroonError(message, *(denial.reason for denial in answer.denials))


def _permissions(caveats: Iterable[Caveat]) -> Any:
    """What the account page shows as a token's scope."""
    names = [name for caveat in caveats for name in _names(caveat)]
    return {"projects": names} if names else "user"


def _names(caveat: Caveat) -> Sequence[str]:
    written = _stored.write(caveat) or [None]
    return written[1] if written[0] == 1 else ()


def _as_stored(caveats: Iterable[Caveat]) -> list[list[Any]]:
    return [written for caveat in caveats if (written := _stored.write(caveat)) is not None]
