"""Targets of probes, the patterns that permit them, and the lines of operators."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.settings.agent import AgentSettings
from runtime.settings.probe import Probe, RequestedProbe, check_requested, merge_requested, read_line
from runtime.settings.probe_target import parse_pattern, parse_target


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("https://Example.org/health?x=1", "example.org", 443, "/health?x=1"),
        ("http://10.0.0.1:8080", "10.0.0.1", 8080, ""),
        ("tcp://[2001:db8::1]:22", "2001:db8::1", 22, ""),
        ("tls://mail.example.org:993", "mail.example.org", 993, ""),
        ("dns://example.org", "example.org", 53, ""),
        ("dns://192.0.2.53/example.org", "192.0.2.53", 53, "/example.org"),
        ("icmp://gateway", "gateway", 0, ""),
    ],
)
def test_a_target_has_its_parts(text: str, host: str, port: int, path: str) -> None:
    found = parse_target(text)
    assert (found.host, found.port, found.path) == (host, port, path)


@pytest.mark.parametrize(
    "text",
    [
        "", "example.org", "ftp://example.org", "file:///etc/passwd", "tcp://example.org", "tcp://example.org:99999",
        "http://user:secret@example.org/", "http://example.org/a b", "http://example.org/\r\nHost: x", "icmp://a:1",
        "tcp://example.org:1/path", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://[::zz]/",
        "http://-x/", "http://a..b/", "dns://192.0.2.1/127.1", f"http://example.org/{'x' * 200}", "http://exämple.org/",
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"target|host|address|name"):
        parse_target(text)


@pytest.mark.parametrize(
    ("pattern", "permitted", "refused"),
    [
        ("https://*.example.org", ["https://a.example.org/x"], ["https://example.org.evil/", "http://a.example.org/",
            "https://a.example.org:8443/", "https://evil/.example.org", "https://evil/?.example.org"]),
        ("https://*.example.org:*", ["https://a.example.org:8443/"], ["tcp://a.example.org:443"]),
        ("tcp://10.0.0.0/8:22", ["tcp://10.1.2.3:22"], ["tcp://10.1.2.3:23", "tcp://11.0.0.1:22", "tcp://ten.org:22"]),
        ("tcp://[fd00::]/8:*", ["tcp://[fd00::1]:9"], ["tcp://[fe80::1]:9"]),
        ("icmp://*", ["icmp://gateway"], ["icmp://192.0.2.1", "tcp://gateway:1"]),
        ("*://db.example.org:*", ["tcp://db.example.org:5432", "icmp://db.example.org"], ["tcp://web.example.org:1"]),
        ("dns://192.0.2.53", ["dns://192.0.2.53/a.org"], ["dns://192.0.2.54/a.org", "dns://a.org"]),
    ],
)  # fmt: skip
def test_a_pattern_permits_only_what_it_says(pattern: str, permitted: list[str], refused: list[str]) -> None:
    found = parse_pattern(pattern)
    assert [target for target in permitted if not found.permits(parse_target(target))] == []
    assert [target for target in refused if found.permits(parse_target(target))] == []


@pytest.mark.parametrize("text", ["example.org", "tcp://x", "ftp://x:1", "tcp://10.0.0.1/8:22", "tcp://999.0.0.0/8:1"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|network"):
        parse_pattern(text)


def test_a_line_has_a_target_and_options_but_names_no_file() -> None:
    found = read_line("https://example.org/ status=200,204 contains='is well' timeout_seconds=5 failures=3")
    assert found == RequestedProbe(
        target="https://example.org/", status=(200, 204), contains="is well", timeout_seconds=5, failures=3
    )
    for line in ("", "https://example.org/ ca_file=/etc/shadow", "https://example.org/ x=1", "tcp://a:1 'open",
                 "tcp://a:1 status=9", "tcp://a:1 target=tcp://b:1", f"tcp://a:1 contains={'x' * 500}"):  # fmt: skip
        with pytest.raises(ValueError, match=r"\w+"):
            read_line(line)


def test_requested_probes_are_added_as_far_as_the_owner_permits() -> None:
    owners = {"web": Probe(target="https://example.org/")}
    patterns = ["https://*.example.org", "https://example.org"]
    lines = {
        "web": "https://www.example.org/",
        "same": "https://example.org/",
        "shop": "https://shop.example.org/",
        "lan": "tcp://10.0.0.1:22",
        "bad": "nonsense",
    }
    merged = merge_requested(owners, lines, patterns)
    assert list(merged) == ["web", "shop"]
    assert (merged["web"], type(merged["shop"])) == (owners["web"], RequestedProbe)
    check_requested({"shop": lines["shop"]}, patterns)
    for name, problem in (("lan", "does not permit the target"), ("bad", "probe bad: .*target")):
        with pytest.raises(ValueError, match=problem):
            check_requested({name: lines[name]}, patterns)
    with pytest.raises(ValueError, match="does not permit"):
        check_requested({"shop": lines["shop"]}, [])


def test_the_settings_refuse_wrong_targets_patterns_and_one_target_twice(tmp_path: Path) -> None:
    def read(**given: object) -> AgentSettings:
        return AgentSettings.model_validate({"data": tmp_path, "machine": "attic", **given})

    assert read(probes={"web": {"target": "https://example.org/"}}).probes["web"].failures == 2
    twice = {name: {"target": "tcp://a:1"} for name in ("one", "two")}
    for given in ({"probes": {"web": {"target": "example.org"}}}, {"probe_targets": ["x"]}, {"probes": twice}):
        with pytest.raises(ValidationError):
            read(**given)


def test_a_check_or_probe_that_would_run_more_often_than_it_is_read_is_refused_with_a_sentence(tmp_path: Path) -> None:
    def read(**given: object) -> AgentSettings:
        return AgentSettings.model_validate({"data": tmp_path, "machine": "attic", **given})

    check, probe = {"argv": ["/bin/true"]}, {"target": "tcp://a:1"}
    for kind, given in (("checks", check), ("probes", probe)):
        read(**{kind: {"x": {**given, "interval_seconds": 30}}, "detail_interval_seconds": 30})
        read(**{kind: {"x": given}, "detail_interval_seconds": 300})
        with pytest.raises(ValidationError, match=rf"{kind[:-1]} x is less than the detail_interval_seconds .*\(60\)"):
            read(**{kind: {"x": {**given, "interval_seconds": 30}}})
    with pytest.raises(ValueError, match="detail_interval_seconds"):
        check_requested({"x": "tcp://a:1 interval_seconds=30"}, ["tcp://*:*"], 60.0)
