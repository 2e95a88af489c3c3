"""DashFleet beside other products that store the reports of machines, all in turns of one run on the same cores.

Counted is the processor time of all servers of a product, with its broker or database, and not of what feeds them.
What a product does in the seconds after a turn counts as well, as some put off most of their work.
"""

import os
import statistics
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.products import ours, posted_lines, prometheus, zabbix
from bench.products.product import MACHINES, VALUES, Product, Runner, run
from waiting import wait_until

IS_WHOLE = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "0")) >= 60
TURNS = 5

PRODUCTS = [*ours.PRODUCTS, *posted_lines.PRODUCTS, *prometheus.PRODUCTS, *zabbix.PRODUCTS]
SURPASSED = ("Zabbix", "InfluxDB")
"""Products that are fed a report at a time, too, and take more for it."""

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not IS_WHOLE, reason="takes minutes: `make bench`"),
]


def test_a_report_costs_less_than_in_products_that_are_fed_alike(tmp_path: Path) -> None:
    with ExitStack() as exits:
        runners = [exits.enter_context(run(product, tmp_path / str(n))) for n, product in enumerate(_installed())]
        for turn in range(TURNS + 1):
            for runner in runners[:: 1 if turn % 2 else -1]:
                runner.turn()
                if not turn:  # to warm up
                    runner.clear()
        _print(runners)
        for runner in runners:
            _check_stored(runner)
    costs = {runner.product: sum(runner.cost_by_program().values()) for runner in runners}
    dearest = max(cost for product, cost in costs.items() if product in ours.PRODUCTS)
    assert {product for product, cost in costs.items() if _is_surpassed(product) and cost <= dearest} == set()


def _is_surpassed(product: Product) -> bool:
    return product.name in SURPASSED and not product.together


def _installed() -> list[Product]:
    """Return the products whose programs are there, and print a line for each that is missing."""
    for product in PRODUCTS:
        if product.missing:
            print(f"\nskipped: {product.name}, {product.fed}: {product.missing}")
    return [product for product in PRODUCTS if not product.missing]


def _print(runners: list[Runner]) -> None:
    print(f"\n{TURNS} turns, {MACHINES:,} machines, reports of {VALUES} values; medians, µs of processor time")
    print("| product | fed with | µs per report | of these | reports/s | survives a power cut |")
    print("|---|---|---|---|---|---|")
    for runner in runners:
        product, costs = runner.product, runner.cost_by_program()
        parts = ", ".join(f"{name} {cost:.0f}" for name, cost in costs.items())
        rate = "paced" if product.paced else f"{statistics.median(runner.rates):,.0f}"
        total = sum(costs.values())
        print(f"| {product.name} | {product.fed} | {total:.0f} | {parts} | {rate} | {product.survives} |")


def _check_stored(runner: Runner) -> None:
    """Wait until each value that was accepted can be read."""
    least = runner.fed * VALUES
    wait_until(lambda: runner.running.stored() >= least, seconds=120, what=f"{runner.product.name}: {least} values")
