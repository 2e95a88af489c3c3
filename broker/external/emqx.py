"""Configuration of EMQX, which reads principals and rules from the fleet's database on PostgreSQL.

Nothing is copied: EMQX runs one query when a client connects and one for its permissions. Both read the table
`principal`; the rules in the second are those of `broker.access.policy.grants` with placeholders for names.

Invariants:
- Everything that no rule allows is denied (`no_match`, whose default in EMQX is allow).
- A client id is checked as `Principal.may_be_called` does, so that a session belongs to a credential.
- A revoked or inconsistent row authenticates no client and grants nothing.
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
""".strip()  # noqa: S608 - built from constants; EMQX binds its own placeholders


def authorization() -> str:
    """Return the query for the permissions of a user name."""
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
    """Return the lines for EMQX's configuration."""
    connection = f"""server = {json.dumps(server)}
  database = {json.dumps(database)}
  username = {json.dumps(username)}"""
    return f"""\
# For EMQX 5, printed by dashfleet emqx. Set the password of the database in EMQX's environment, as
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
    """Return role, action and topic filter of every grant, with `{org}` and `{name}` as placeholders."""
    found = []
    for role in Role:
        granted = grants(Principal(role, "{org}" if role in _IN_AN_ORG else "", "{name}"))
        found += [(role.value, "publish", topic) for topic in granted.publish]
        found += [(role.value, "subscribe", topic) for topic in granted.read]
    return found
