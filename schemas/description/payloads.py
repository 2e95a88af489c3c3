"""The message that travels on each topic."""

from collections.abc import Mapping

from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.alerts import AlertMessage, IncidentMessage, ResolvedMessage
from schemas.contract.backfill import Backfill
from schemas.contract.commands import CommandMessage, Desired, Request, Result, Update
from schemas.contract.enrolment import EnrolAnswer, EnrolRequest
from schemas.contract.facts import FactsMessage
from schemas.contract.files.transfer import Chunk, Fetch, Receipt, Upload
from schemas.contract.live import Live, LiveAnswer, LiveLease, LiveRequest
from schemas.contract.messages import Info, Payload, Status, Telemetry
from schemas.contract.org_config import OrgConfig
from schemas.contract.presence import PresenceMessage
from schemas.contract.topics import Topic

PAYLOADS: Mapping[Topic, type[Payload]] = {
    topics.STATUS: Status,
    topics.INFO: Info,
    topics.TELEMETRY: Telemetry,
    topics.BACKFILL: Backfill,
    topics.FACTS: FactsMessage,
    topics.RESULT: Result,
    topics.COMMAND: CommandMessage,
    topics.ACK: Ack,
    topics.CONFIG: Desired,
    topics.FETCH: Fetch,
    topics.CHUNK: Chunk,
    topics.UPLOAD: Upload,
    topics.RECEIPT: Receipt,
    topics.REQUEST: Request,
    topics.UPDATE: Update,
    topics.PRESENCE: PresenceMessage,
    topics.ALERT: AlertMessage,
    topics.RESOLVED: ResolvedMessage,
    topics.INCIDENT: IncidentMessage,
    topics.ORG_CONFIG: OrgConfig,
    topics.ENROL_REQUEST: EnrolRequest,
    topics.ENROL_ANSWER: EnrolAnswer,
    topics.LIVE_REQUEST: LiveRequest,
    topics.LIVE_ANSWER: LiveAnswer,
    topics.WATCH: LiveLease,
    topics.LIVE: Live,
    topics.REPLAYED_INFO: Info,
    topics.REPLAYED_TELEMETRY: Telemetry,
    topics.REPLAYED_PRESENCE: PresenceMessage,
    topics.REPLAYED_ALERT: AlertMessage,
    topics.REPLAYED_RESOLVED: ResolvedMessage,
}
"""The model of the payload by topic. `PROBE` carries no message."""


def message_name(model: type[Payload]) -> str:
    """Return the name of a message in the documentation, such as `Alert` for `AlertMessage`."""
    return model.__name__.removesuffix("Message")
