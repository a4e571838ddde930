"""The door: the only place where wire messages become records and records become wire messages.

`fields` reads large messages, `values` carries plain Python data, `jobs` the requests, `reports` the answers, `refusals` the
errors; `acceptance` says which jobs an engine takes, `groups` how much goes into one message of a stream. Whatever comes in is
checked here, once, so that everything behind the door can rely on its records.
"""

from engine.wire.fields import LARGE_BYTES, UNREADABLE, read_large
from engine.wire.groups import Outbox
from engine.wire.jobs import MAX_MESSAGE_BYTES, job_from_request, request_from_job
from engine.wire.refusals import (
    Refusal,
    error_from_rejection,
    error_from_rpc,
    refusal_of,
    response_from_refusal,
    status_of,
)
from engine.wire.reports import (
    description_from_message,
    message_from_description,
    report_from_message,
    response_from_report,
)

__all__ = [
    "LARGE_BYTES",
    "MAX_MESSAGE_BYTES",
    "UNREADABLE",
    "Outbox",
    "Refusal",
    "description_from_message",
    "error_from_rejection",
    "error_from_rpc",
    "job_from_request",
    "message_from_description",
    "read_large",
    "refusal_of",
    "report_from_message",
    "request_from_job",
    "response_from_refusal",
    "response_from_report",
    "status_of",
]
