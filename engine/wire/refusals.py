"""Errors <-> gRPC statuses: how "there is no verdict, and whether asking again helps" crosses the wire.

A `Refusal` is the neutral form. Unary calls carry it as a rich status with google.rpc.RetryInfo, streams as a
`Rejection` inside a response. UNAVAILABLE with RetryInfo comes from an engine; UNAVAILABLE without comes from the
transport, which has nobody to ask: for that one `error_from_rpc` returns None and the client says what it knows. A call that
breaks while a message is being written has yet another face: grpc.aio says INTERNAL in words of its own.
"""

from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no stubs
from grpc_status import rpc_status

from engine.errors import BadJob, Busy, EngineError, EngineFault, ProblemError, Unavailable
from protos.execution.v1 import execution_pb2 as pb

_BROKEN_WHILE_WRITING = "Internal error from Core"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """No verdict, and why. `retry_after_ms` is None where asking again does not help."""

    code: grpc.StatusCode
    message: str
    retry_after_ms: int | None = None


def refusal_of(error: BaseException) -> Refusal:
    """The refusal for an error. Anything that is not one of ours is a fault of the engine, without its details."""
    match error:
        case BadJob() | ProblemError():
            return Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message=_printable(error))
        case Busy():
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            return Refusal(code=code, message=_printable(error), retry_after_ms=error.retry_after_ms)
        case Unavailable():
            code = grpc.StatusCode.UNAVAILABLE
            return Refusal(code=code, message=_printable(error), retry_after_ms=error.retry_after_ms)
    return Refusal(code=grpc.StatusCode.INTERNAL, message="a fault of the engine; its log says more")


def response_from_refusal(job_id: str, refusal: Refusal) -> pb.ExecuteResponse:
    """The refusal of one request on a stream."""
    retry_after_ms = 0 if refusal.retry_after_ms is None else max(1, refusal.retry_after_ms)
    rejection = pb.Rejection(code=_number(refusal.code), message=refusal.message, retry_after_ms=retry_after_ms)
    return pb.ExecuteResponse(id=job_id, rejected=rejection)


def status_of(refusal: Refusal) -> grpc.Status:
    """The refusal as a rich status: its code, details and trailing_metadata are what `context.abort` takes."""
    status = status_pb2.Status(code=_number(refusal.code), message=refusal.message)
    if refusal.retry_after_ms is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(refusal.retry_after_ms)
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        status.details.append(detail)
    return rpc_status.to_status(status)


def error_from_rejection(rejection: pb.Rejection) -> EngineError:
    """What the rejection of one request on a stream means to a client."""
    retry_after_ms = rejection.retry_after_ms or None
    return _error(rejection.code, rejection.message, retry_after_ms)


def error_from_rpc(error: grpc.aio.AioRpcError) -> EngineError | None:
    """What the failure of a call means to a client; None where the transport failed."""
    number, message = _number(error.code()), error.details() or ""
    retry_after_ms = _retry_after_ms(error)
    if error.code() is grpc.StatusCode.UNAVAILABLE and retry_after_ms is None:
        return None
    if error.code() is grpc.StatusCode.INTERNAL and message == _BROKEN_WHILE_WRITING:
        return None
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return EngineFault("what answers is no engine, or one of another version")
    return _error(number, message, retry_after_ms)


def _error(number: int, message: str, retry_after_ms: int | None) -> EngineError:
    if number == _number(grpc.StatusCode.RESOURCE_EXHAUSTED) and retry_after_ms is not None:
        return Busy(message, retry_after_ms=retry_after_ms)
    if number == _number(grpc.StatusCode.UNAVAILABLE):
        return Unavailable(message, retry_after_ms=retry_after_ms or 1_000)
    if number in {_number(grpc.StatusCode.INVALID_ARGUMENT), _number(grpc.StatusCode.RESOURCE_EXHAUSTED)}:
        return BadJob(message)
    return EngineFault(message or f"the call failed with status {number}")


def _retry_after_ms(error: grpc.aio.AioRpcError) -> int | None:
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        for detail in status_pb2.Status.FromString(value).details:
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(retry):
                return int(retry.retry_delay.ToMilliseconds())
    return None


def _number(code: grpc.StatusCode) -> int:
    return int(code.value[0])


def _printable(error: BaseException) -> str:
    return str(error).encode("utf-8", "backslashreplace").decode()
