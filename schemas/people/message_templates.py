"""Templates of messages, which admins of an organisation may edit, one per language.

The grammar is a part of Jinja2 that is small enough to bound the work of any template: texts, fields of the message,
`if`, `for`, comparisons, and a few filters. No calls, no assignments, no arithmetic.

Invariants:
- A template is checked when it is saved and again before it is used; a message whose template fails uses the default.
- Loops nest at most twice and go over lists and mappings only, so that a template does at most its length times the
  alerts squared of work. Lists and mappings are never converted to text.
- Anything nests at most DEPTH_MAX times: compiling takes a time that grows with the square of that, and recursion.
- Rendering stops at BODY_MAX characters.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, TemplateError, Undefined, nodes
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
DEPTH_MAX: Final = 50

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
_ANY: Final = frozenset(("length", "default", "first", "last"))
"""Filters that take more than text, in a time that does not depend on its length."""

_LOOPED: Final = "looped"
"""Filter around what a loop goes over, which no template can name."""

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
    except (TemplateError, ValueError, RecursionError) as error:
        raise DestinationError(f"the template cannot be read: {error}") from None
    if _is_deep(tree):
        raise DestinationError(f"the template cannot be read: it nests more than {DEPTH_MAX} times")
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _NODES) or (isinstance(node, nodes.For) and node.recursive):
            raise DestinationError(f"{type(node).__name__.lower()} is not allowed in a template")
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise DestinationError(f"the filter {node.name} is not allowed: use {', '.join(sorted(_FILTERS))}")
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            raise DestinationError(f"{node.attr} is not a field of a message")
    if _depth(tree) > LOOPS_MAX:
        raise DestinationError(f"loops in a template nest at most {LOOPS_MAX} times")
    try:
        _compiled(source)
    except (TemplateError, SyntaxError, ValueError, RecursionError) as error:
        raise DestinationError(f"the template cannot be read: {error}") from None


def render_template(source: str, fields: Mapping[str, Any]) -> str:
    """Return a template filled in, cut at BODY_MAX. Raises DestinationError if it is invalid or a field is missing."""
    check_template(source)
    try:
        return _joined(_compiled(source).generate(fields))
    except Exception as error:  # noqa: BLE001 - filters raise anything for arguments that they do not expect
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


def _is_deep(tree: nodes.Node) -> bool:
    level = [tree]
    for _ in range(DEPTH_MAX):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return False
    return True


def _depth(node: nodes.Node) -> int:
    inner = max((_depth(each) for each in node.iter_child_nodes()), default=0)
    return inner + isinstance(node, nodes.For)


def _joined(pieces: Iterable[str]) -> str:
    """Return the beginning of a text that may be too long to be made as a whole."""
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size >= BODY_MAX:
            break
    return "".join(found)[:BODY_MAX]


def _text(value: object) -> object:
    """Return a value that is text or a number. Raises TypeError: others may be long."""
    if isinstance(value, str | int | float | Undefined):
        return value
    raise TypeError(f"a {type(value).__name__} is not text: name a field of it")


def _looped(value: object) -> object:
    """Return a value over which a loop may go. Raises TypeError."""
    if isinstance(value, Collection) and not isinstance(value, str):
        return value
    raise TypeError(f"a loop goes over items or labels, not over a {type(value).__name__}")


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that takes only text and numbers."""

    @wraps(function)
    def checked(*values: object, **options: object) -> object:
        for value in (*values, *options.values()):
            if not isinstance(value, Environment):
                _text(value)
        return function(*values, **options)

    return checked


@lru_cache(1)
def _environment() -> Environment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=False, keep_trailing_newline=False, finalize=_text
    )
    environment.globals.clear()
    known = environment.filters
    environment.filters = {name: known[name] if name in _ANY else _of_text(known[name]) for name in _FILTERS}
    environment.filters[_LOOPED] = _looped
    return environment


@lru_cache(256)
def _compiled(source: str) -> Any:  # noqa: ANN401 - jinja2.Template
    tree = _environment().parse(source)
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, _LOOPED, [], [], None, None)
    tree.set_environment(_environment())
    return _environment().from_string(tree)
