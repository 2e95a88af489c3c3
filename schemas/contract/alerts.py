"""Messages about alerts and incidents, which the ingestor publishes and the broker retains.

Invariants:
- Acknowledging and silencing change who is notified, never what is recorded. The ingestor decides both and publishes
  the message again; a reader obeys the message and needs to know neither schedules nor labels.
- Times are the server's clock.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.contract.messages import ContractModel, Count, Identifier, Labels, Milliseconds, Payload, Reading
from schemas.contract.text import Code, Line, Text, Title

COMMENT_MAX = 500
INCIDENT_NAMES_MAX = 64

Comment = Annotated[Line, Field(max_length=COMMENT_MAX)]
"""A reason in the words of a person."""


class Acknowledgement(ContractModel):
    """Who has acknowledged an alert: the person as the principal states it, when, and the person's comment."""

    by: Text
    at: Milliseconds
    comment: Comment = ""


class AlertMessage(Payload):
    """An active alert, retained on `_alerts/{machine}/{rule}`; an empty payload when it is resolved.

    `id` identifies the alert: late data may correct `since`, the start of the condition. `title` and `detail` are for
    people. `value` is the reading that began the alert, in `unit`. `silenced_until` is the end of the silence that
    applies now: nobody is to be notified before; null: no silence applies.
    """

    rule: Identifier
    title: Title
    severity: Literal["warning", "critical"]
    since: Milliseconds
    detail: Text = ""
    id: Count | None = None
    hostname: Text | None = None
    labels: Labels = Field(default={})
    value: Reading | None = None
    unit: Code | None = None
    acknowledged: Acknowledgement | None = None
    silenced_until: Milliseconds | None = None
    silence_reason: Comment = ""


class ResolvedMessage(AlertMessage):
    """The last alert of a rule that ended, retained on `_resolved/{machine}/{rule}` for an hour after its end.

    `past`: it lay entirely in the past when it became known, so it was never active.
    """

    until: Milliseconds
    past: bool = False


class IncidentMessage(Payload):
    """An incident of an organisation, retained on `_incidents/{incident}` until an hour after its end.

    `machines` are the names of at most 64 of the `machine_count` machines that it concerns; none for an incident of the
    organisation as a whole. `label` is a label that all of them have (`site=nantes`), if there is one.
    """

    id: Count
    kind: Code
    since: Milliseconds
    until: Milliseconds | None = None
    machines: Annotated[tuple[Identifier, ...], Field(max_length=INCIDENT_NAMES_MAX, strict=False)] = ()
    machine_count: Count = 0
    label: Text = ""
