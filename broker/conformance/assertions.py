"""The numbered assertions of the contract; `docs/contract.md` has the same table, and a test compares both.

A number is never used for anything else. An assertion states one requirement, so that a fault violates one of them.
"""

from dataclasses import dataclass
from typing import Literal

Subject = Literal["agent", "consumer", "actor", "broker"]


@dataclass(frozen=True, slots=True)
class Assertion:
    """A requirement on an agent, a consumer, an actor or a broker."""

    id: str
    subject: Subject
    text: str


ALL: list[Assertion] = []
"""Every assertion, in the order of the numbers."""


def _assertion(number: int, subject: Subject, text: str) -> Assertion:
    found = Assertion(f"DF-{number:03}", subject, text)
    ALL.append(found)
    return found


BIRTH = _assertion(1, "agent", "After each connect it publishes Status `online`, its birth.")
STATUS_RETAINED = _assertion(2, "agent", "Its Status is retained.")
INFO = _assertion(3, "agent", "After each connect it publishes Info.")
INFO_RETAINED = _assertion(4, "agent", "Its Info is retained.")
VALID = _assertion(5, "agent", "Each of its messages has the payload that the contract defines for the topic.")
QOS = _assertion(6, "agent", "It publishes with QoS 1.")
ONE_SESSION = _assertion(7, "agent", "All messages of a connection have the session of its birth.")
SESSION_RISES = _assertion(8, "agent", "Each connection has a higher session than all before it.")
WILL = _assertion(9, "agent", "Its will is Status `offline` with the reason `lost` and the session of the connection.")
GOODBYE = _assertion(
    10, "agent", "Before it ends in order it publishes Status `offline` with a reason other than `lost`."
)
BIRTH_AGAIN = _assertion(11, "agent", "It publishes its birth again when its retained Status says `offline`.")
NUMBERS = _assertion(12, "agent", "The samples of a stream are numbered without a gap, in ascending order.")
OLDEST = _assertion(13, "agent", "`oldest_seq` is the smallest number of the stream that is not acknowledged.")
DESCRIBED = _assertion(14, "agent", "Info describes every metric in `extra` of its samples.")
RESENT = _assertion(15, "agent", "It sends a sample that is not acknowledged again, in a Backfill.")
SAME_CONTENT = _assertion(16, "agent", "A number of a stream always has the same content.")
ONE_BATCH = _assertion(17, "agent", "It sends the next Backfill only when the one before is acknowledged.")
ACKED = _assertion(18, "agent", "It does not send acknowledged samples again.")
REJECTED = _assertion(19, "agent", "It does not send rejected samples again.")
RUNNING = _assertion(20, "agent", "It reports `running` before the outcome of an order.")
OUTCOME = _assertion(21, "agent", "It reports the outcome of an allowed order as `succeeded` or `failed`.")
REPEATED = _assertion(22, "agent", "It repeats a final Result until an Ack names it.")
RESULT_ACKED = _assertion(23, "agent", "It does not repeat a final Result that an Ack has named.")
ONCE = _assertion(
    24, "agent", "It answers a Command that arrives again with the same Result, and does not run it again."
)
SIGNATURE = _assertion(25, "agent", "It rejects an order with a wrong signature: `signature`.")
TARGET = _assertion(26, "agent", "It rejects an order for another machine: `target`.")
EXPIRED = _assertion(27, "agent", "It rejects an order that has expired: `expired`.")
FUTURE = _assertion(28, "agent", "It rejects an order that was issued in the future: `future`.")
NOT_ALLOWED = _assertion(29, "agent", "It rejects an action that it does not allow: `not-allowed`.")
ARGUMENTS = _assertion(30, "agent", "It rejects arguments that do not match the schema of the action: `arguments`.")
UNKNOWN_FIELDS = _assertion(31, "agent", "It ignores unknown fields of a message.")
INVALID_MESSAGES = _assertion(32, "agent", "It goes on after a message that is invalid.")
KEY_ADDED = _assertion(33, "agent", "It trusts a key that a trusted key has added in OrgConfig.")
KEY_UNTRUSTED = _assertion(34, "agent", "It does not trust a key whose addition no trusted key has signed.")
KEY_REVOKED = _assertion(35, "agent", "It does not trust a key that was revoked.")
KNOWN_ORDER = _assertion(36, "agent", "It knows after a restart which orders it has run.")


def of_subject(subject: Subject) -> tuple[Assertion, ...]:
    """Return the assertions on a kind of program, or on brokers."""
    return tuple(assertion for assertion in ALL if assertion.subject == subject)
