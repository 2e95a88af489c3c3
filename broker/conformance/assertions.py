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
RETIRING = _assertion(37, "agent", "Neither its birth nor its will says `retiring`.")
JOURNAL_LOST = _assertion(38, "agent", "It rejects an order that was issued before its journal was lost: `journal`.")

CONSUMER_IDENTITY = _assertion(101, "consumer", "It connects with MQTT 3.1.1, with its user name as the client id.")
CONSUMER_CLEAN = _assertion(102, "consumer", "Its sessions are clean.")
CONSUMER_KEEP_ALIVE = _assertion(103, "consumer", "Its keep-alive is not 0, so that it notices a broken connection.")
CONSUMER_GRANTED = _assertion(104, "consumer", "It subscribes only to filters that its role grants.")
CONSUMER_SILENT = _assertion(105, "consumer", "It publishes nothing.")
CONSUMER_RETAINED = _assertion(106, "consumer", "It shows the Presence of every machine that is retained.")
CONSUMER_CHANGES = _assertion(107, "consumer", "It shows every later change of Presence.")
CONSUMER_ACKNOWLEDGES = _assertion(108, "consumer", "It acknowledges every message that it receives with QoS 1.")
CONSUMER_DEFAULTS = _assertion(109, "consumer", "It reads a message without the fields that are not required.")
CONSUMER_UNKNOWN_FIELDS = _assertion(110, "consumer", "It ignores unknown fields of a message.")
CONSUMER_INVALID = _assertion(111, "consumer", "It goes on after a message that is invalid.")
CONSUMER_UNVERIFIED = _assertion(112, "consumer", "It shows which Presence is not verified.")
CONSUMER_REMOVED = _assertion(113, "consumer", "It shows that a machine was removed when its Presence is cleared.")
CONSUMER_RECONNECTS = _assertion(114, "consumer", "It connects again after a broken connection and a refused CONNECT.")
CONSUMER_RESUBSCRIBES = _assertion(115, "consumer", "It subscribes again after each connect.")
CONSUMER_WAITS = _assertion(116, "consumer", "It waits for at least 0.1 s before it connects again.")
CONSUMER_TWICE = _assertion(117, "consumer", "It goes on after a message that arrives twice.")

ACTOR_IDENTITY = _assertion(201, "actor", "It connects with MQTT 3.1.1, with its user name as the client id.")
ACTOR_CLEAN = _assertion(202, "actor", "Its sessions are clean.")
ACTOR_SUBSCRIBES = _assertion(
    203, "actor", "It subscribes to the Updates of its principal before it publishes a Request."
)
ACTOR_TOPIC = _assertion(204, "actor", "It publishes to the topic of Requests of its principal, and nowhere else.")
ACTOR_QOS = _assertion(205, "actor", "It publishes with QoS 1, and not retained.")
ACTOR_VALID = _assertion(206, "actor", "Each of its messages has the payload that the contract defines for the topic.")
ACTOR_SIGNED = _assertion(207, "actor", "Its key has signed each order.")
ACTOR_TARGET = _assertion(
    208, "actor", "Each order names the organisation, the machine and the action that are wanted."
)
ACTOR_TIMES = _assertion(209, "actor", "An order is issued now, and expires later, within 30 days.")
ACTOR_NEW_IDS = _assertion(210, "actor", "Each Request, batch and order has a new, random id.")
ACTOR_AGAIN = _assertion(211, "actor", "It repeats a Request until an Update answers it.")
ACTOR_AGAIN_CONNECTED = _assertion(212, "actor", "It repeats an unanswered Request when it has connected again.")
ACTOR_SAME = _assertion(213, "actor", "A repeated Request has the same content.")
ACTOR_OTHERS = _assertion(214, "actor", "It ignores Updates about other Requests.")
ACTOR_UNKNOWN_FIELDS = _assertion(215, "actor", "It ignores unknown fields of a message.")
ACTOR_INVALID = _assertion(216, "actor", "It goes on after a message that is invalid.")
ACTOR_NOT_FINAL = _assertion(217, "actor", "It waits for a final state: `timed-out` is none.")
ACTOR_ASKS = _assertion(
    218, "actor", "After a broken connection it repeats a Request of which it does not know the end."
)
ACTOR_SUCCEEDED = _assertion(219, "actor", "It ends with the exit status 0 when every command has succeeded.")
ACTOR_FAILED = _assertion(220, "actor", "It ends with another exit status after another outcome.")
ACTOR_REFUSED = _assertion(221, "actor", "It ends with another exit status when the Request is refused.")
ACTOR_TWICE = _assertion(222, "actor", "It goes on waiting after an Update that arrives twice.")

BROKER_CONNECTS = _assertion(301, "broker", "It accepts MQTT 3.1.1 with a valid credential.")
BROKER_PASSWORD = _assertion(302, "broker", "It refuses a wrong password.")
BROKER_DELIVERS = _assertion(303, "broker", "It delivers a message with its topic and payload.")
BROKER_ACKNOWLEDGES = _assertion(304, "broker", "It acknowledges a message with QoS 1.")
BROKER_QOS = _assertion(305, "broker", "It delivers a message of QoS 1 to a subscription at QoS 1 with QoS 1.")
BROKER_ORDER = _assertion(306, "broker", "It delivers the messages of a client to one topic in their order.")
BROKER_ORDER_OF_TOPICS = _assertion(
    307, "broker", "It delivers the messages of a client to several topics in their order."
)
BROKER_LARGE = _assertion(308, "broker", "It delivers a message of 200,000 bytes.")
BROKER_RETAINS = _assertion(309, "broker", "It delivers a retained message to a later subscription, with RETAIN set.")
BROKER_REPLACES = _assertion(310, "broker", "A retained message replaces the one before.")
BROKER_CLEARS = _assertion(311, "broker", "An empty retained message clears the one before.")
BROKER_WILDCARD = _assertion(312, "broker", "A filter with a wildcard receives every retained message that it matches.")
BROKER_REREAD = _assertion(313, "broker", "A repeated SUBSCRIBE delivers the retained messages again.")
BROKER_NOT_RETAINED = _assertion(314, "broker", "A message without RETAIN is not delivered to later subscriptions.")
BROKER_WILL = _assertion(315, "broker", "It publishes the will of a broken connection.")
BROKER_WILL_RETAINED = _assertion(316, "broker", "It retains a will that requests it.")
BROKER_NO_WILL = _assertion(317, "broker", "It does not publish the will after DISCONNECT.")
BROKER_KEEP_ALIVE = _assertion(318, "broker", "It ends a connection that is silent for 1.5 keep-alives.")
BROKER_CLEAN = _assertion(319, "broker", "A clean session begins without subscriptions and messages.")
BROKER_TAKE_OVER = _assertion(320, "broker", "A second connection of a client id ends the first.")
BROKER_PUBLISH_DENIED = _assertion(321, "broker", "A message that its sender may not publish goes nowhere.")
BROKER_READ_DENIED = _assertion(322, "broker", "A client receives nothing that it may not read.")
BROKER_WILL_DENIED = _assertion(323, "broker", "A will that its sender may not publish goes nowhere.")
BROKER_ORGANISATIONS = _assertion(324, "broker", "Clients of different organisations receive nothing of each other.")
BROKER_REVOKED = _assertion(325, "broker", "The connection of a revoked credential ends.")


def of_subject(subject: Subject) -> tuple[Assertion, ...]:
    """Return the assertions on a kind of program, or on brokers."""
    return tuple(assertion for assertion in ALL if assertion.subject == subject)
