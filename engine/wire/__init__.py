"""The door: the only place where wire messages become records and records become wire messages.

`values` carries plain Python data, `jobs` the requests, `reports` the answers; `acceptance` says which jobs an
engine takes. Whatever comes in is checked here, once, so that everything behind the door can rely on its records.
"""

from engine.wire.jobs import MAX_MESSAGE_BYTES, job_from_request, request_from_job
from engine.wire.reports import (
    description_from_message,
    message_from_description,
    report_from_message,
    response_from_report,
)

__all__ = [
    "MAX_MESSAGE_BYTES",
    "description_from_message",
    "job_from_request",
    "message_from_description",
    "report_from_message",
    "request_from_job",
    "response_from_report",
]
