"""How a machine is named in a sentence or a list."""

import pytest

from schemas.fleet.machine_name import machine_name


@pytest.mark.parametrize(
    ("id_", "hostname", "shown"),
    [
        ("vm", "vm", "vm"),
        ("vm", "vm.example.org", "vm.example.org"),
        ("vm-example-org", "VM.example.org", "VM.example.org"),
        ("vm-2", "vm", "vm (vm-2)"),
        ("vm-2", "vm.example.org", "vm.example.org (vm-2)"),
        ("vm-2", None, "vm-2"),
        ("vm-2", "", "vm-2"),
    ],
)
def test_a_machine_is_its_hostname_and_its_id_unless_the_hostname_says_it(
    id_: str, hostname: str | None, shown: str
) -> None:
    assert machine_name(id_, hostname) == shown
