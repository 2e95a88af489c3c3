"""Messages in every language, and templates that admins edit."""

import time
from dataclasses import replace

import pytest

from notifier.domain.planner import NoticeItem
from notifier.domain.problem import NoticeKind, Problem
from notifier.rendering.catalogue import LANGUAGES, texts
from notifier.rendering.message import alert_message, trial_message
from notifier.sending.outgoing import Outgoing
from schemas.people.message_templates import BODY_MAX, SOURCE_MAX, check_template, render_template
from schemas.people.routing import Preferences
from schemas.people.services import DestinationError

BEGIN = 1_780_315_200_000  # 2026-06-01 12:00 UTC
ALERT = Problem(
    "acme", "7", "away", "critical", BEGIN, "attic", "Machine offline", "no data received", hostname="attic.local"
)
INCIDENT = Problem(
    "acme",
    "incident/3",
    "mass-silence",
    "critical",
    BEGIN,
    machines=("a", "b"),
    machine_count=12,
    label="site=nantes",
)


def message(*items: NoticeItem, language: str = "en", template: tuple[str, str] | None = None) -> Outgoing:
    preferences = Preferences.model_validate({"language": language, "zone": "Europe/Paris"})
    own = {language: template} if template else {}
    return alert_message(items, preferences, own, org="acme", delivery="9", now=BEGIN)


def test_a_message_names_machine_problem_severity_and_local_time() -> None:
    found = message(NoticeItem(NoticeKind.PROBLEM, ALERT))
    assert found.title == "Problem: attic: Machine offline"
    assert found.body == ("Problem: attic: Machine offline (no data received)\n\nCritical, since 2026-06-01 14:00 CEST")
    assert found.data["text"] == found.body
    assert found.tone == "failure"
    over = replace(ALERT, until=BEGIN + 1_200_000)
    found = message(NoticeItem(NoticeKind.RECOVERY, over))
    assert found.title == "Resolved: attic: Machine offline"
    assert "until 2026-06-01 14:20 CEST (20 min)" in found.body
    assert found.tone == "success"


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_alert_whose_rule_no_longer_applies_is_not_said_to_be_resolved(language: str) -> None:
    over = NoticeItem(NoticeKind.RECOVERY, replace(ALERT, until=BEGIN + 1_200_000))
    found = message(replace(over, problem=replace(over.problem, withdrawn=True)), language=language)
    assert found.title.split(":")[0] != message(over, language=language).title.split(":")[0]
    assert found.tone == "info"
    assert found.data["alerts"][0]["withdrawn"] is True


@pytest.mark.parametrize("text", ["@everyone", "x@here", "<@123>", "(@channel)", "@**all**", "@ann"])
def test_no_text_of_a_machine_mentions_people_in_a_chat(text: str) -> None:
    hostile = replace(ALERT, hostname=text, detail=text, labels={"site": text}, acknowledged_by=text)
    template = "{{ items[0].hostname }} {{ items[0].detail }} {{ items[0].labels.site }} {{ items[0].acknowledged_by }}"
    found = message(NoticeItem(NoticeKind.PROBLEM, hostile), template=(template, template + " @here"))
    assert text not in found.title
    assert text not in found.body
    assert found.body.endswith(" @here"), "that of the admin is meant"
    assert found.data["alerts"][0]["hostname"] == text, "programs get it as it is"


def test_an_at_sign_within_a_name_stays_as_it_is() -> None:
    found = message(
        NoticeItem(NoticeKind.PROBLEM, replace(ALERT, detail="getty@tty1.service: critical, ops@example.org"))
    )
    assert "getty@tty1.service: critical, ops@example.org" in found.body


def test_a_message_about_several_problems_lists_each() -> None:
    items = [NoticeItem(NoticeKind.PROBLEM, replace(ALERT, key=str(n), machine=f"m{n}")) for n in range(100)]
    found = message(*items)
    assert found.title == "Alerts: 100 (Problem: m0, …)"
    assert all(f"m{n}: Machine offline" in found.body for n in range(100))
    assert len(found.data["alerts"]) == 100


def test_an_incident_is_one_sentence_with_its_machines() -> None:
    found = message(NoticeItem(NoticeKind.PROBLEM, INCIDENT))
    assert found.title == "Problem: site=nantes, 12 machines: Several machines stopped reporting at the same time"
    assert "(a, b, …)" in found.body


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text(language: str) -> None:
    english, found = texts("en"), texts(language)
    assert found.keys() == english.keys()
    for name in ("kinds", "severities", "incidents"):
        assert found[name].keys() == english[name].keys()
    assert set(found["kinds"]) == {kind.value for kind in NoticeKind} - {"dropped"} | {"withdrawn"}
    if language != "en":
        assert found["kinds"]["problem"] in message(NoticeItem(NoticeKind.PROBLEM, ALERT), language=language).body
        assert (
            found["phrases"]["Machine offline"]
            in message(NoticeItem(NoticeKind.PROBLEM, ALERT), language=language).title
        )
    preferences = Preferences.model_validate({"language": language})
    assert "phone" in trial_message(preferences, org="acme", name="phone", delivery="1", now=BEGIN).body


def test_text_of_a_machine_cannot_add_lines_or_controls() -> None:
    hostile = replace(ALERT, title="a\nSubject: x\r\n\x1b[31m\u202e", detail="b\n\nc")
    found = message(NoticeItem(NoticeKind.PROBLEM, hostile))
    assert "\n" not in found.title
    assert found.body.count("\n") == 2
    assert "\x1b" not in found.title + found.body
    assert "\u202e" not in found.title + found.body


def test_an_organisation_uses_its_own_template_in_its_language() -> None:
    own = (
        "{{ items[0].machine | upper }}!",
        "{% for item in items %}{{ item.labels.site | default('-') }}{% endfor %}",
    )
    item = NoticeItem(NoticeKind.PROBLEM, replace(ALERT, labels={"site": "nantes"}))
    found = message(item, template=own)
    assert (found.title, found.body) == ("ATTIC!", "nantes")
    assert message(item, language="fr").title == "Problème : attic : Machine hors ligne"


def test_a_template_that_fails_is_replaced_by_the_default() -> None:
    found = message(NoticeItem(NoticeKind.PROBLEM, ALERT), template=("{{ items[0].colour }}", "{{ nothing.at.all }}"))
    assert found.title == "Problem: attic: Machine offline"
    assert "Critical" in found.body


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ items.__init__.__globals__ }}",
        "{{ cycler.__init__ }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 2 ** 100000 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ 'a' + 'b' }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ items.append(1) }}",
        "{{ range(1000000) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'a' | replace('a', 'aa') }}",
        "{{ items | map('upper') }}",
        "{{ items | join('x') }}",
        "{% set x = items %}",
        "{% macro a() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% block a %}{% endblock %}",
        "{% filter upper %}a{% endfilter %}",
        "{% for a in items recursive %}{{ loop(items) }}{% endfor %}",
        "{% for a in items %}{% for b in items %}{% for c in items %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ items",
        "{% if %}",
        "x" * (SOURCE_MAX + 1),
        "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
        "{{ " + "not " * 300 + "count }}",
        "{{ " + "not " * 800 + "count }}",
        "{{ count" + " | length" * 400 + " }}",
        "{{ items" + ".a" * 1500 + " }}",
        "{{ 0x" + "f" * 3900 + " }}",
    ],
)
def test_a_template_beyond_the_grammar_is_rejected(source: str) -> None:
    with pytest.raises(DestinationError):
        check_template(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ items[0].name | truncate(2) }}",
        "{{ count | length }}",
        "{{ items }}",
        "{{ items | upper }}",
        "{{ items[0].keys }}",
        "{% for character in items[0].name %}{% endfor %}",
        "{% for character in 'abc' %}{% endfor %}",
        "{% if count %}" * 105 + "{% endif %}" * 105,
    ],
)
def test_a_template_that_python_or_a_filter_rejects_is_replaced_by_the_default(source: str) -> None:
    found = message(NoticeItem(NoticeKind.PROBLEM, ALERT), template=(source, source))
    assert found.title == "Problem: attic: Machine offline"
    assert "Critical" in found.body


def test_a_template_that_python_cannot_compile_is_rejected_when_it_is_saved() -> None:
    with pytest.raises(DestinationError, match="cannot be read"):
        check_template("{% if count %}" * 105 + "{% endif %}" * 105)


def test_no_template_makes_the_notifier_build_a_text_beyond_the_bound() -> None:
    source = "{% for a in items %}{% for b in items %}" + "{{ org }}" * 400 + "{% endfor %}{% endfor %}"
    fields = {"org": "o" * 1000, "items": list(range(100))}
    begin = time.process_time()
    assert len(render_template(source, fields)) == BODY_MAX
    assert time.process_time() - begin < 1


def test_a_template_cannot_convert_the_alerts_to_text_again_and_again() -> None:
    body = "{% if items|upper %}{% endif %}" * 120
    source = "{% for a in items %}{% for b in items %}" + body + "{% endfor %}{% endfor %}"
    begin = time.process_time()
    with pytest.raises(DestinationError, match="not text"):
        render_template(source, {"items": [{"detail": "x" * 200}] * 100})
    assert time.process_time() - begin < 1


def test_the_heaviest_template_of_the_grammar_is_quick() -> None:
    loop = "{% for a in items %}{% for b in items %}"
    source = loop + "x" * (SOURCE_MAX - len(loop) - 24) + "{% endfor %}{% endfor %}"
    begin = time.process_time()
    render_template(source, {"items": list(range(100))})
    assert time.process_time() - begin < 2
