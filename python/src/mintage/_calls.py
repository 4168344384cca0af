"""What the client asks: each method as a `Call`, made of values and of nothing else.

`mintage.Client` and `mintage.aio.Client` send the same calls; only how they wait differs. There is
no I/O here, and no gRPC but its messages.

A call that spends something, Mint an ID token and Verify a use, gets a `request_id` of its own
where the caller gives none: an attempt whose answer was lost may then be repeated, and the service
takes both for one. That is what makes the channel's retries safe.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from . import _answers, _messages
from ._caveats import Caveat
from ._errors import Reason, Refused
from ._model import (
    Access,
    Attenuated,
    KeptToken,
    Minted,
    Publisher,
    Requester,
    Revoked,
    Verification,
)
from .v1 import token_service_pb2 as pb

Answer = TypeVar("Answer")
Given = ParamSpec("Given")


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One call of the contract: its method, its request, and how its answer is read."""

    method: str
    request: Message = field(repr=False)
    read: Callable[[Any], Answer] = field(repr=False)

    def answered(self, message: Any) -> Answer:
        """The answer as a value. gRPC's asyncio side gives None for bytes that are no message."""
        if message is None:
            raise _answers.unreadable()
        return self.read(message)


def _sendable(build: Callable[Given, Call[Answer]]) -> Callable[Given, Call[Answer]]:
    """Refuses as the service would: text that isn't Unicode, numbers that don't fit.

    Such text may come from anybody, as the token of an upload for instance. The error that
    protobuf raises holds it, so the refusal is raised outside of its `except`, unchained.
    """

    @functools.wraps(build)
    def checked(*args: Given.args, **kwargs: Given.kwargs) -> Call[Answer]:
        try:
            return build(*args, **kwargs)
        except (ValueError, OverflowError):
            pass
        sentence = "the request holds text that is not Unicode, or a number that does not fit"
        raise Refused(sentence, reason=Reason.REQUEST_INVALID)

    return checked


@dataclass(frozen=True)
class Calls:
    """Makes the calls of a client for an index. The methods are `mintage.Client`'s."""

    index: str

    @_sendable
    def mint_for_publisher(
        self,
        id_token: str,
        candidates: Iterable[Publisher],
        projects: Iterable[str],
        caveats: Iterable[Caveat],
        lifetime: timedelta | None,
        features: Iterable[str],
        request_id: str,
        requester: Requester,
        index: str | None,
    ) -> Call[Minted]:
        request = pb.MintRequest(
            index=self._index(index),
            request_id=request_id or _new_request_id(),
            trusted_publishing=_trusted_publishing(id_token, candidates, projects),
            caveats=map(_messages.caveat, caveats),
            lifetime=_duration(lifetime),
            features=_texts("features", features),
            client=_messages.client(requester),
        )
        return Call("Mint", request, _answers.minted)

    @_sendable
    def mint_for_user(
        self,
        user_id: str,
        caveats: Iterable[Caveat],
        lifetime: timedelta | None,
        features: Iterable[str],
        request_id: str,
        requester: Requester,
        index: str | None,
    ) -> Call[Minted]:
        request = pb.MintRequest(
            index=self._index(index),
            request_id=request_id,
            user=pb.User(user_id=user_id),
            caveats=map(_messages.caveat, caveats),
            lifetime=_duration(lifetime),
            features=_texts("features", features),
            client=_messages.client(requester),
        )
        return Call("Mint", request, _answers.minted)

    @_sendable
    def verify(
        self,
        token: str,
        access: Access,
        stored_caveats: Iterable[Caveat],
        kept: KeptToken | None,
        dry_run: bool,
        request_id: str,
        requester: Requester,
        index: str | None,
    ) -> Call[Verification]:
        request = pb.VerifyRequest(
            index=self._index(index),
            request_id=request_id or _new_request_id(),
            upload_token=pb.UploadToken(
                token=_credential(token),
                access=_messages.access(access),
                stored_caveats=map(_messages.caveat, stored_caveats),
                kept=_messages.kept(kept),
                dry_run=dry_run,
            ),
            client=_messages.client(requester),
        )
        return Call("Verify", request, _answers.verification)

    @_sendable
    def verify_identity(
        self,
        id_token: str,
        candidates: Iterable[Publisher],
        requester: Requester,
        index: str | None,
    ) -> Call[Verification]:
        request = pb.VerifyRequest(
            index=self._index(index),
            id_token=_trusted_publishing(id_token, candidates, ()),
            client=_messages.client(requester),
        )
        return Call("Verify", request, _answers.verification)

    @_sendable
    def attenuate(
        self, token: str, caveats: Iterable[Caveat], index: str | None
    ) -> Call[Attenuated]:
        request = pb.AttenuateRequest(
            index=self._index(index),
            token=_credential(token),
            caveats=map(_messages.caveat, caveats),
        )
        return Call("Attenuate", request, _answers.attenuated)

    @_sendable
    def revoke(
        self,
        token: str | None,
        token_id: str | None,
        kept: KeptToken | None,
        cause: str,
        requester: Requester,
        index: str | None,
    ) -> Call[Revoked]:
        if (token is None) == (token_id is None):
            raise TypeError("revoke takes either a token or a token_id")
        request = pb.RevokeRequest(
            index=self._index(index),
            kept=_messages.kept(kept),
            cause=cause,
            client=_messages.client(requester),
        )
        if token is not None:
            request.token = _credential(token)
        if token_id is not None:
            request.token_id = token_id
        return Call("Revoke", request, _answers.revoked)

    def _index(self, index: str | None) -> str:
        return self.index if index is None else index


def _trusted_publishing(
    id_token: str, candidates: Iterable[Publisher], projects: Iterable[str]
) -> pb.TrustedPublishing:
    return pb.TrustedPublishing(
        id_token=_credential(id_token),
        candidates=map(_messages.publisher, candidates),
        projects=_texts("projects", projects),
    )


def _new_request_id() -> str:
    return secrets.token_hex(16)


def _duration(lifetime: timedelta | None) -> Duration | None:
    if lifetime is None:
        return None
    message = Duration()
    message.FromTimedelta(lifetime)
    return message


def _credential(text: str) -> str:
    """The text itself. What isn't one never gets as far as an error that would print it."""
    if not isinstance(text, str):
        raise TypeError("a token is a str")
    return text


def _texts(name: str, values: Iterable[str]) -> Iterable[str]:
    if isinstance(values, str):
        raise TypeError(f"{name} is several texts, not one")
    return values
