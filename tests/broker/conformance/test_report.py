"""The report of a run as text, JSON and JUnit."""

from xml.etree import ElementTree

from broker.conformance import assertions as df
from broker.conformance.report import ConformanceReport, Judgment


def report() -> ConformanceReport:
    found = ConformanceReport("agent", "home.attic")
    found.check(df.BIRTH, holds=True, detail="")
    found.fail(df.WILL, "nothing \x1b[31m came")
    found.check(df.WILL, holds=True, detail="")
    found.skip("no command", df.GOODBYE, df.BIRTH)
    return found


def test_a_violation_stays_and_what_was_checked_is_not_skipped() -> None:
    verdicts = {verdict.assertion: verdict.judgment for verdict in report().verdicts}
    assert verdicts[df.BIRTH] is Judgment.PASSED
    assert verdicts[df.WILL] is Judgment.FAILED
    assert verdicts[df.GOODBYE] is verdicts[df.QOS] is Judgment.SKIPPED
    assert [verdict.assertion for verdict in report().failed] == [df.WILL]


def test_the_json_has_the_counts_and_every_assertion() -> None:
    found = report().as_json()
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 1, len(df.of_subject("agent")) - 2)
    assert len(found["assertions"]) == len(df.of_subject("agent"))  # type: ignore[arg-type]


def test_the_text_has_a_line_for_each_and_no_control_character() -> None:
    text = report().as_text()
    assert "DF-009 failed" in text
    assert "\x1b" not in text
    assert text.endswith(f"1 passed, 1 failed, {len(df.of_subject('agent')) - 2} skipped")


def test_the_junit_document_can_be_parsed() -> None:
    suite = ElementTree.fromstring(report().as_junit())  # noqa: S314 - our own
    assert suite.get("failures") == "1"
    assert len(suite.findall("testcase")) == len(df.of_subject("agent"))
    assert [case.get("name", "")[:6] for case in suite.findall("testcase") if case.find("failure") is not None] == [
        "DF-009"
    ]
