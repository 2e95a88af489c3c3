"""The result of a run: a verdict on each assertion, as text, JSON or JUnit."""

from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree

from broker.conformance.assertions import Assertion, Subject, of_subject
from schemas.contract.text import clean_line


class Judgment(StrEnum):
    """Judgment of an assertion."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be checked; the detail says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgment of one assertion, with what was seen."""

    assertion: Assertion
    judgment: Judgment
    detail: str = ""


class ConformanceReport:
    """The verdicts on the assertions of one subject. The first failure of an assertion stays."""

    def __init__(self, subject: Subject, name: str) -> None:
        self.subject = subject
        self.name = name
        self._verdicts: dict[str, Verdict] = {}

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict on every assertion of the subject; one that was not reached is skipped."""
        return [
            self._verdicts.get(each.id, Verdict(each, Judgment.SKIPPED, "not reached"))
            for each in of_subject(self.subject)
        ]

    @property
    def failed(self) -> list[Verdict]:
        """The violated assertions."""
        return [verdict for verdict in self.verdicts if verdict.judgment is Judgment.FAILED]

    def fail(self, assertion: Assertion, detail: str) -> None:
        """Record a violation."""
        known = self._verdicts.get(assertion.id)
        if known is None or known.judgment is not Judgment.FAILED:
            self._verdicts[assertion.id] = Verdict(assertion, Judgment.FAILED, clean_line(detail)[:500])

    def check(self, assertion: Assertion, holds: bool, detail: str) -> None:
        """Record that an assertion was checked. `detail`: the violation, if it does not hold."""
        if not holds:
            self.fail(assertion, detail)
        else:
            known = self._verdicts.get(assertion.id)
            if known is None or known.judgment is Judgment.SKIPPED:
                self._verdicts[assertion.id] = Verdict(assertion, Judgment.PASSED)

    def skip(self, reason: str, *assertions: Assertion) -> None:
        """Record why assertions could not be checked, unless they were."""
        for assertion in assertions:
            self._verdicts.setdefault(assertion.id, Verdict(assertion, Judgment.SKIPPED, reason))

    def as_text(self) -> str:
        """Return a line for each assertion, and the counts."""
        lines = []
        for verdict in self.verdicts:
            detail = f"\n        {verdict.detail}" if verdict.detail else ""
            lines.append(f"{verdict.assertion.id} {verdict.judgment:7} {verdict.assertion.text}{detail}")
        return "\n".join([*lines, ", ".join(f"{count} {name}" for name, count in self._counts().items())])

    def as_json(self) -> dict[str, object]:
        """Return the report as JSON."""
        found = [
            {
                "id": verdict.assertion.id,
                "text": verdict.assertion.text,
                "result": verdict.judgment.value,
                "detail": verdict.detail,
            }
            for verdict in self.verdicts
        ]
        return {"subject": self.subject, "name": self.name, **self._counts(), "assertions": found}

    def as_junit(self) -> str:
        """Return the report as a JUnit document."""
        counts = self._counts()
        suite = ElementTree.Element("testsuite", name=f"dashfleet conform {self.subject}")
        suite.set("tests", str(sum(counts.values())))
        suite.set("failures", str(counts["failed"]))
        suite.set("skipped", str(counts["skipped"]))
        for verdict in self.verdicts:
            name = f"{verdict.assertion.id} {verdict.assertion.text}"
            case = ElementTree.SubElement(suite, "testcase", classname=self.name, name=name)
            if verdict.judgment is Judgment.FAILED:
                ElementTree.SubElement(case, "failure", message=verdict.detail)
            elif verdict.judgment is Judgment.SKIPPED:
                ElementTree.SubElement(case, "skipped", message=verdict.detail)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)

    def _counts(self) -> dict[str, int]:
        judgments = [verdict.judgment for verdict in self.verdicts]
        return {each.value: judgments.count(each) for each in Judgment}
