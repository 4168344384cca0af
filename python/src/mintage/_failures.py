"""What went wrong with a call, from gRPC's words into this package's errors.

The service names its reason in a google.rpc.ErrorInfo. Whatever has none comes from somewhere on
the way to it; then the status code decides, and the sentence is one of ours, since a proxy's may
name hosts, and may end up before an uploader.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from . import _answers
from ._errors import Error, Reason, Refused, Unavailable

DOMAIN = "mintage.v1"

_DETAILS_KEY = "grpc-status-details-bin"

# No answer, even though the service said so itself.
_NO_ANSWER = {Reason.UNAVAILABLE, Reason.INTERNAL}

_REFUSING = {
    grpc.StatusCode.INVALID_ARGUMENT: Reason.REQUEST_INVALID,
    grpc.StatusCode.OUT_OF_RANGE: Reason.REQUEST_INVALID,
    grpc.StatusCode.NOT_FOUND: Reason.UNSPECIFIED,
    grpc.StatusCode.ALREADY_EXISTS: Reason.UNSPECIFIED,
    grpc.StatusCode.FAILED_PRECONDITION: Reason.UNSPECIFIED,
    grpc.StatusCode.UNAUTHENTICATED: Reason.CALLER_UNKNOWN,
    grpc.StatusCode.PERMISSION_DENIED: Reason.CALLER_FORBIDDEN,
}

_TOO_LATE = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}

_WAITING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}

Detail = TypeVar("Detail", bound=Message)


def error_of(failure: grpc.RpcError) -> Error:
    """The error to raise for a failed call, `from` the failure."""
    status = _status(failure)
    info = _detail(status, error_details_pb2.ErrorInfo)
    if info is None or info.domain != DOMAIN:
        return _from_the_way(failure)
    reason = _answers.reason(info.reason)
    kind = _kind(reason, _call(failure).code())
    return kind(
        status.message,
        reason=reason,
        retry_after=_retry_after(status),
        field=_field(status),
    )


def _kind(reason: Reason, code: grpc.StatusCode) -> type[Error]:
    if reason in _NO_ANSWER:
        return Unavailable
    if reason is Reason.UNSPECIFIED and code not in _REFUSING:
        return Unavailable
    return Refused


def _from_the_way(failure: grpc.RpcError) -> Error:
    code = _call(failure).code()
    if code in _REFUSING:
        sentence = f"something before the token service refused the call ({code.name})"
        return Refused(sentence, reason=_REFUSING[code])
    if code in _TOO_LATE:
        sentence = "the token service did not answer in time"
        return Unavailable(sentence, reason=Reason.UNAVAILABLE)
    if code in _WAITING:
        sentence = "the token service can't be reached at present"
        return Unavailable(sentence, reason=Reason.UNAVAILABLE)
    name = getattr(code, "name", "without a status")
    return Unavailable(f"the call to the token service failed ({name})", reason=Reason.INTERNAL)


def _call(failure: grpc.RpcError) -> Any:
    """What both of gRPC's APIs raise knows its status; their common type doesn't say so."""
    return failure


def _status(failure: grpc.RpcError) -> status_pb2.Status:
    for key, value in _call(failure).trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _details(status: status_pb2.Status, kind: type[Detail]) -> Iterator[Detail]:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            detail = kind()
            try:
                packed.Unpack(detail)
            except DecodeError:
                continue
            yield detail


def _detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    return next(_details(status, kind), None)


def _retry_after(status: status_pb2.Status) -> float | None:
    info = _detail(status, error_details_pb2.RetryInfo)
    if info is None or not info.HasField("retry_delay"):
        return None
    return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))


def _field(status: status_pb2.Status) -> str:
    for bad_request in _details(status, error_details_pb2.BadRequest):
        for violation in bad_request.field_violations:
            return str(violation.field)
    return ""
