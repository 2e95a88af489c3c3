"""The rules that apply to a machine.

Invariant: of the enabled rules of one family (kind, metric, device, severity) that select a machine, only those with
the most specific selector apply. Equally specific rules all apply.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from schemas.contract.alert_rules import AlertRule
from schemas.contract.machine_selector import MachineTraits


@dataclass(frozen=True, slots=True)
class Applying:
    """A rule that selects a machine. `replaced_by`: more specific rules, because of which it does not apply."""

    rule: AlertRule
    replaced_by: tuple[str, ...] = ()


def select_rules(rules: Collection[AlertRule], machine: str, traits: MachineTraits) -> list[AlertRule]:
    """Return the rules that apply to a machine, in their order."""
    return [each.rule for each in explain_rules(rules, machine, traits) if not each.replaced_by]


def explain_rules(rules: Collection[AlertRule], machine: str, traits: MachineTraits) -> list[Applying]:
    """Return the enabled rules that select a machine, in their order, with the reason why one does not apply."""
    selecting = [rule for rule in rules if rule.enabled and rule.selector.selects(machine, traits)]
    families: dict[tuple[str, ...], list[AlertRule]] = {}
    for rule in selecting:
        families.setdefault(rule.family, []).append(rule)
    return [Applying(rule, _more_specific(rule, families[rule.family])) for rule in selecting]


def _more_specific(rule: AlertRule, family: Sequence[AlertRule]) -> tuple[str, ...]:
    best = max(other.selector.specificity for other in family)
    if rule.selector.specificity == best:
        return ()
    return tuple(other.name for other in family if other.selector.specificity == best)
