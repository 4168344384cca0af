"""The contract's messages into values. Pure.

The service may be newer than this package: what isn't known here becomes `Reason.UNSPECIFIED` or
`Unreadable`, never an exception, and never an allowed upload.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from ._caveats import (
    Actions,
    Caveat,
    ClientNetworks,
    Digests,
    Expiration,
    Filenames,
    ProjectIds,
    ProjectNames,
    PublisherId,
    Unreadable,
    UserId,
    Uses,
    Versions,
)
from ._errors import Reason, Unavailable
from ._model import (
    Attenuated,
    Denial,
    Identity,
    Minted,
    Mismatch,
    Project,
    Revoked,
    Subject,
    TokenFacts,
    Verification,
)
from .v1 import caveat_pb2, error_reason_pb2, publisher_pb2
from .v1 import token_service_pb2 as pb

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EARLIEST = datetime.min.replace(tzinfo=timezone.utc)
_LATEST = datetime.max.replace(tzinfo=timezone.utc)


def minted(answer: pb.MintResponse) -> Minted:
    return Minted(
        token=answer.token,
        token_id=answer.token_id,
        expires_at=_time(answer.expires_at) if answer.HasField("expires_at") else None,
        features=tuple(answer.features),
        publisher_id=answer.publisher_id,
        projects=tuple(map(_project, answer.projects)),
        caveats=tuple(map(caveat, answer.caveats)),
        identity=_identity(answer.identity) if answer.HasField("identity") else None,
    )


def verification(answer: pb.VerifyResponse) -> Verification:
    """Allowed where the verdict says exactly that; a verdict of no known meaning is no answer."""
    if answer.verdict not in (pb.VERDICT_ALLOWED, pb.VERDICT_DENIED):
        raise unreadable()
    return Verification(
        allowed=answer.verdict == pb.VERDICT_ALLOWED,
        denials=tuple(map(_denial, answer.denials)),
        token=_token_facts(answer.token) if answer.HasField("token") else None,
        identity=_identity(answer.identity) if answer.HasField("identity") else None,
        publisher_id=answer.publisher_id,
    )


def attenuated(answer: pb.AttenuateResponse) -> Attenuated:
    return Attenuated(token=answer.token, caveats=tuple(map(caveat, answer.caveats)))


def revoked(answer: pb.RevokeResponse) -> Revoked:
    return Revoked(token_id=answer.token_id, again=answer.again)


def unreadable() -> Unavailable:
    sentence = "the token service gave an answer that this version can't read"
    return Unavailable(sentence, reason=Reason.INTERNAL)


def reason(name: str) -> Reason:
    """The reason of a name in the contract, with or without its prefix."""
    try:
        return Reason(name.removeprefix("ERROR_REASON_"))
    except ValueError:
        return Reason.UNSPECIFIED


def _denial(message: pb.Denial) -> Denial:
    known = message.reason in error_reason_pb2.ErrorReason.values()
    name = error_reason_pb2.ErrorReason.Name(message.reason) if known else ""
    return Denial(
        reason=reason(name),
        message=message.message,
        caveat=message.caveat if message.HasField("caveat") else None,
        mismatch=_mismatch(message.mismatch) if message.HasField("mismatch") else None,
    )


def _mismatch(message: pb.Mismatch) -> Mismatch:
    return Mismatch(
        publisher_id=message.publisher_id,
        claim=message.claim,
        expected=message.expected,
        found=message.found,
    )


def _token_facts(message: pb.TokenFacts) -> TokenFacts:
    return TokenFacts(
        token_id=message.token_id,
        subject=_subject(message.subject) if message.HasField("subject") else None,
        key_id=message.key_id,
        caveats=tuple(map(caveat, message.caveats)),
        minted_at=_time(message.minted_at) if message.HasField("minted_at") else None,
        expires_at=_time(message.expires_at) if message.HasField("expires_at") else None,
    )


def _subject(message: pb.Subject) -> Subject | None:
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    if kind == "user_id":
        return Subject(user_id=message.user_id)
    return Subject(publisher_id=message.publisher_id)


def _project(message: publisher_pb2.Project) -> Project:
    return Project(id=message.id, name=message.name)


def _identity(message: pb.Identity) -> Identity:
    return Identity(
        issuer=message.issuer,
        subject=message.subject,
        expires_at=_time(message.expires_at) if message.HasField("expires_at") else None,
        claims=_object(message.claims),
    )


def _time(message: Timestamp) -> datetime:
    """In UTC; a time that `datetime` doesn't reach is the last or first one that it does.

    Whoever holds a token may add an expiration to it, of any number.
    """
    try:
        return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError:
        return _LATEST if message.seconds > 0 else _EARLIEST


def _object(message: Struct) -> dict[str, Any]:
    return {name: _json(value) for name, value in message.fields.items()}


def _json(message: Value) -> Any:
    """As `json.loads` would give it; protobuf knows no integers, so whole numbers become them."""
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return _object(message.struct_value)
    if kind == "list_value":
        return [_json(item) for item in message.list_value.values]
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return message.string_value
    return message.bool_value if kind == "bool_value" else None


def caveat(message: caveat_pb2.Caveat) -> Caveat:
    """A kind that isn't known here can't be read, and so denies."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return Unreadable(b"")
    return _CAVEATS[kind](message)


_CAVEATS: dict[str, Callable[[caveat_pb2.Caveat], Caveat]] = {
    "expiration": lambda m: Expiration(m.expiration.not_before, m.expiration.expires_at),
    "project_names": lambda m: ProjectNames(tuple(m.project_names.names)),
    "project_ids": lambda m: ProjectIds(tuple(m.project_ids.ids)),
    "user_id": lambda m: UserId(m.user_id.id),
    "publisher_id": lambda m: PublisherId(m.publisher_id.id),
    "uses": lambda m: Uses(m.uses.count, m.uses.nonce),
    "versions": lambda m: Versions(tuple(m.versions.versions)),
    "filenames": lambda m: Filenames(tuple(m.filenames.filenames)),
    "digests": lambda m: Digests(tuple(m.digests.sha256)),
    "client_networks": lambda m: ClientNetworks(tuple(m.client_networks.networks)),
    "actions": lambda m: Actions(tuple(m.actions.actions)),
    "unreadable": lambda m: Unreadable(m.unreadable),
}
