"""The same principals and rules for EMQX, which reads them from the fleet's database on PostgreSQL.

Nothing is copied: EMQX asks one query when a client connects, and one for what it may do. Both look at the table
`principal` alone, and the rules in the second are those of `broker.access.policy.grants`, asked with placeholders
for names.

Invariants:
- What no rule allows is denied (`no_match`, which EMQX ships as allow).
- A client id is good as `Principal.may_be_called` says, so a session belongs to a credential.
- A revoked row, and one that contradicts itself, lets nobody in and grants nothing.
"""

import json

from broker.access.credentials import ITERATIONS, KEY_BYTES
from broker.access.policy import Principal, Role, grants

_QUOTES = '"""'
_IN_AN_ORG = frozenset((Role.MACHINE, Role.READER, Role.OPERATOR, Role.ENROL))

_VALID = """revoked_at IS NULL AND org ~ '^[a-z0-9-]*$' AND name ~ '^[a-z0-9-]+$'
  AND username = CASE WHEN role = 'machine' THEN org || '.' || name
                      WHEN org = '' THEN '_' || name
                      ELSE org || '._' || name END"""

AUTHENTICATION = f"""
SELECT encode(decode(split_part(secret_hash, '$', 5), 'base64'), 'hex') AS password_hash,
       convert_from(decode(split_part(secret_hash, '$', 4), 'base64'), 'UTF8') AS salt
FROM principal
WHERE username = ${{username}} AND {_VALID}
  AND secret_hash LIKE '$7${ITERATIONS}$%'
  AND CASE WHEN role = 'enrol' THEN left(${{clientid}}, length(username) + 1) = username || '.'
                                AND substr(${{clientid}}, length(username) + 2) ~ '^[0-9a-f]{{32}}$'
           ELSE ${{clientid}} = username END
LIMIT 1
""".strip()  # noqa: S608 - of constants; what is asked for are EMQX's placeholders, which it binds


def authorization() -> str:
    """The query for what a user name may do."""
    rules = ",\n       ".join(f"('{role}', '{action}', '{topic}')" for role, action, topic in _rules())
    return f"""
SELECT 'allow' AS permission, rule.action,
       replace(replace(rule.topic, '{{org}}', org), '{{name}}', name) AS topic
FROM principal JOIN (
VALUES {rules}
) AS rule(role, action, topic) USING (role)
WHERE username = ${{username}} AND {_VALID}
""".strip()  # noqa: S608 - as above; the topics are the contract's own


def configuration(*, server: str, database: str, username: str) -> str:
    """What belongs into EMQX's configuration."""
    connection = f"""server = {json.dumps(server)}
  database = {json.dumps(database)}
  username = {json.dumps(username)}"""
    return f"""\
# For EMQX 5, as dashfleet emqx printed it. The database's password is in EMQX's environment, as
# EMQX_AUTHENTICATION__1__PASSWORD and EMQX_AUTHORIZATION__SOURCES__1__PASSWORD.

authentication = [{{
  mechanism = "password_based"
  backend = "postgresql"
  {connection}
  password_hash_algorithm {{ name = "pbkdf2", mac_fun = "sha512", iterations = {ITERATIONS}, dk_length = {KEY_BYTES} }}
  query = {_QUOTES}
{AUTHENTICATION}
{_QUOTES}
}}]

authorization.no_match = "deny"
authorization.deny_action = "disconnect"
authorization.cache.ttl = "5s"
authorization.sources = [{{
  type = "postgresql"
  enable = true
  {connection}
  query = {_QUOTES}
{authorization()}
{_QUOTES}
}}]

mqtt.max_packet_size = "256KB"
mqtt.max_mqueue_len = 10000
mqtt.max_inflight = 2048
"""


def _rules() -> list[tuple[str, str, str]]:
    """Role, action and topic filter of every grant, with `{org}` and `{name}` where a principal's own are."""
    found = []
    for role in Role:
        granted = grants(Principal(role, "{org}" if role in _IN_AN_ORG else "", "{name}"))
        found += [(role.value, "publish", topic) for topic in granted.publish]
        found += [(role.value, "subscribe", topic) for topic in granted.read]
    return found
