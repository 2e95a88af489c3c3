"""Templates of messages, which admins of an organisation may edit, one per language.

The grammar is a part of Jinja2 that is small enough to bound the work of any template: texts, fields of the message,
`if`, `for`, comparisons, and a few filters. No calls, no assignments, no arithmetic.

Invariants:
- A template is checked when it is saved and again before it is used; a message whose template fails uses the default.
- Loops nest at most twice, so the length of a message is at most that of its template times the alerts squared, and it
  is cut at BODY_MAX.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from sqlalchemy import Engine, delete, insert, select

from schemas.database.engine import storable
from schemas.database.queries.fetch import fetch_all
from schemas.people.notification_tables import message_template
from schemas.people.services import DestinationError

SOURCE_MAX: Final = 4096
TITLE_MAX: Final = 200
BODY_MAX: Final = 16 << 10
LOOPS_MAX: Final = 2

DEFAULT_TITLE: Final = (
    "{% if count == 1 %}{{ items[0].kind }}{{ text.colon }}{{ items[0].name }}{{ text.colon }}{{ items[0].title }}"
    "{% else %}{{ text.alerts }}{{ text.colon }}{{ count }} "
    "({{ items[0].kind }}{{ text.colon }}{{ items[0].name }}, …){% endif %}"
)
DEFAULT_BODY: Final = """\
{% for item in items %}{{ item.kind }}{{ text.colon }}{{ item.name }}{{ text.colon }}{{ item.title }}\
{% if item.detail %} ({{ item.detail }}){% endif %}

{{ item.severity }}, {{ text.since }} {{ item.since }}{% if item.until %}, {{ text.until }} {{ item.until }} \
({{ item.duration }}){% endif %}{% if item.acknowledged_by %}, {{ text.acknowledged_by }} {{ item.acknowledged_by }}\
{% endif %}

{% endfor %}"""

_FILTERS: Final = frozenset(("upper", "lower", "capitalize", "length", "default", "truncate", "trim", "first", "last"))
_NODES: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.If,
    nodes.For,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Keyword,
)


def check_template(source: str) -> None:
    """Raise DestinationError if a text is not a template of the allowed grammar."""
    if len(source) > SOURCE_MAX:
        raise DestinationError(f"a template has at most {SOURCE_MAX} characters")
    try:
        tree = _environment().parse(source)
    except (TemplateError, RecursionError) as error:
        raise DestinationError(f"the template cannot be read: {error}") from None
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _NODES) or (isinstance(node, nodes.For) and node.recursive):
            raise DestinationError(f"{type(node).__name__.lower()} is not allowed in a template")
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise DestinationError(f"the filter {node.name} is not allowed: use {', '.join(sorted(_FILTERS))}")
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            raise DestinationError(f"{node.attr} is not a field of a message")
    if _depth(tree) > LOOPS_MAX:
        raise DestinationError(f"loops in a template nest at most {LOOPS_MAX} times")


def render_template(source: str, fields: Mapping[str, Any]) -> str:
    """Return a template filled in. Raises DestinationError if it is invalid or uses a field that does not exist."""
    check_template(source)
    try:
        return str(_compiled(source).render(fields))
    except (TemplateError, TypeError, ValueError) as error:
        raise DestinationError(f"the template fails: {error}") from None


def read_templates(engine: Engine, org: str) -> dict[str, tuple[str, str]]:
    """Return title and body of an organisation's own templates, by language."""
    query = select(message_template).where(message_template.c.org == org)
    return {row.language: (row.title, row.body) for row in fetch_all(engine, query)}


def set_template(engine: Engine, org: str, language: str, title: str, body: str) -> None:
    """Replace the template of a language; the default applies again if both are empty. Raises DestinationError."""
    for source in (title, body):
        check_template(source)
    same = (message_template.c.org == org, message_template.c.language == language)
    with engine.begin() as connection:
        connection.execute(delete(message_template).where(*same))
        if title or body:
            row = {"org": org, "language": language, "title": storable(title), "body": storable(body)}
            connection.execute(insert(message_template).values(row))


def _depth(node: nodes.Node) -> int:
    inner = max((_depth(each) for each in node.iter_child_nodes()), default=0)
    return inner + isinstance(node, nodes.For)


@lru_cache(1)
def _environment() -> Environment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=False, keep_trailing_newline=False
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    return environment


@lru_cache(256)
def _compiled(source: str) -> Any:  # noqa: ANN401 - jinja2.Template
    return _environment().from_string(source)
