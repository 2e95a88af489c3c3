"""The machines that an address compares."""

from dashboard.fleet import compared


def test_an_address_names_machines_and_machines_the_address() -> None:
    names = ["attic", "cellar"]
    assert compared.parse(compared.address(names)["ids"]) == names


def test_what_is_no_id_or_too_many_is_left_out() -> None:
    assert compared.parse("attic,<b>,,attic,UPPER,cellar") == ["attic", "cellar"]
    assert compared.parse("") == []
    assert len(compared.parse(",".join(f"m-{i}" for i in range(20)))) == compared.MACHINES_MAX


def test_two_to_six_can_be_compared() -> None:
    assert [n for n in range(9) if compared.is_comparable(["m"] * n)] == [2, 3, 4, 5, 6]
