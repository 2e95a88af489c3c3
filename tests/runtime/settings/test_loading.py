"""Sources of settings and their precedence, and the message for an invalid one."""

import json
import os
from pathlib import Path

import pytest

from runtime.errors import SettingsError
from runtime.settings.address import ServerAddress
from runtime.settings.agent import AgentSettings
from runtime.settings.broker import BrokerSettings
from runtime.settings.client import ClientSettings
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.ingestor import IngestorSettings
from runtime.settings.loading import CONFIGURATION_FILE, load, masked
from runtime.settings.part_settings import PartSettings
from runtime.settings.secret_files import write_secret

SECRET = "correct-horse-battery"
URLS = {"database": "sqlite://", "auth_database": "sqlite://"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DASHFLEET_"):
            monkeypatch.delenv(name)


def agent(data: Path, **given: object) -> AgentSettings:
    return load(AgentSettings, data, {"machine": "attic", **given})


def write(data: Path, text: str) -> None:
    (data / "dashfleet.toml").write_text(text)


def refusal(data: Path, **given: object) -> str:
    with pytest.raises(SettingsError) as refused:
        agent(data, **given)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def test_command_line_over_environment_over_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert agent(tmp_path).interval_seconds == 10.0
    assert load(AgentSettings, tmp_path, defaults={"machine": "a", "interval_seconds": 9.0}).interval_seconds == 9.0
    write(tmp_path, "[agent]\ninterval_seconds = 7\n[broker]\nport = 5\n")
    assert load(AgentSettings, tmp_path, defaults={"machine": "a", "interval_seconds": 9.0}).interval_seconds == 7.0
    monkeypatch.setenv("DASHFLEET_AGENT_INTERVAL_SECONDS", "5")
    assert agent(tmp_path).interval_seconds == 5.0
    assert agent(tmp_path, interval_seconds=3.0).interval_seconds == 3.0
    assert agent(tmp_path, interval_seconds=None).interval_seconds == 5.0


def test_the_state_directory_is_the_one_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHFLEET_AGENT_DATA", "/elsewhere")
    write(tmp_path, '[agent]\ndata = "/elsewhere"\n')

    assert agent(tmp_path).data == tmp_path


def test_labels_come_from_a_table_or_from_json_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, '[agent.labels]\nrack = "b 3"\n')
    assert agent(tmp_path).labels == {"rack": "b 3"}
    monkeypatch.setenv("DASHFLEET_AGENT_LABELS", '{"site": "x"}')
    assert agent(tmp_path).labels == {"rack": "b 3", "site": "x"}
    monkeypatch.setenv("DASHFLEET_AGENT_LABELS", '{"rack": "c"}')
    assert agent(tmp_path).labels == {"rack": "c"}


def test_a_list_or_nothing_comes_from_json_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHFLEET_AGENT_REBOOT_COMMAND", '["systemctl", "reboot"]')
    monkeypatch.setenv("dashfleet_agent_org", "acme")
    assert agent(tmp_path).reboot_command == ["systemctl", "reboot"]
    assert agent(tmp_path).org == "acme"
    monkeypatch.setenv("DASHFLEET_AGENT_REBOOT_COMMAND", "null")
    assert agent(tmp_path).reboot_command is None


def test_a_configuration_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    named = tmp_path / "other.toml"
    with pytest.raises(SettingsError, match=f"there is no configuration file {named}"):
        load(AgentSettings, tmp_path, {"machine": "a"}, configuration=named)
    named.write_text("[agent]\ninterval_seconds = 4\n")
    assert load(AgentSettings, tmp_path, {"machine": "a"}, configuration=named).interval_seconds == 4.0


@pytest.mark.parametrize("content", [b"[agent\n", b"\xff\xfe", b"agent = \x00", b"agent = 7\n"])
def test_a_configuration_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dashfleet.toml").write_bytes(content)

    assert str(tmp_path / "dashfleet.toml") in refusal(tmp_path)


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "[agent]\nintervall_seconds = 7\n")

    assert refusal(tmp_path) == (
        "there is no setting intervall_seconds for the agent: remove it from [agent] in dashfleet.toml"
    )


def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    write(tmp_path, f'[agent]\npassword = "{SECRET}"\n')

    sentence = refusal(tmp_path)

    assert "password_file" in sentence
    assert SECRET not in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval_seconds", "soon"),
        ("interval_seconds", "0"),
        ("interval_seconds", "nan"),
        ("interval_seconds", "inf"),
        ("keep_alive_seconds", "4"),
        ("org", "Not An Id"),
        ("org", "x" * 33),
        ("machine", "-attic"),
        ("log_level", "loud"),
        ("outbox_max_bytes", "1000"),
        ("server", "attic:1883"),
        ("labels", '{"Rack Name": "x"}'),
        ("labels", '{"rack": 3}'),
        ("labels", '{"rack": "' + "x" * 64 + '"}'),
    ],
)
def test_a_wrong_setting_is_named_with_its_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DASHFLEET_AGENT_{name.upper()}", value)
    with pytest.raises(SettingsError) as refused:
        load(AgentSettings, tmp_path, defaults={"machine": "attic"})

    assert str(refused.value).startswith(f"the agent's setting {name}")
    assert f"(DASHFLEET_AGENT_{name.upper()}) is wrong: " in str(refused.value)


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"setting machine \(DASHFLEET_AGENT_MACHINE\) is wrong: Field required"):
        load(AgentSettings, tmp_path)


def test_labels_in_the_environment_that_are_no_json_are_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHFLEET_AGENT_LABELS", "rack=1")

    sentence = refusal(tmp_path)

    assert "DASHFLEET_AGENT_" in sentence
    assert "labels" in sentence
    assert "JSON" in sentence


# Addresses.


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("mqtt://127.0.0.1:1884", "127.0.0.1", 1884, False),
        ("mqtt://fleet.example.org", "fleet.example.org", 1883, False),
        ("mqtts://fleet.example.org/", "fleet.example.org", 8883, True),
        ("mqtts://[::1]:9", "::1", 9, True),
    ],
)
def test_an_address_is_taken_apart(url: str, host: str, port: int, tls: bool) -> None:
    assert ServerAddress.parse(url) == ServerAddress(host=host, port=port, tls=tls)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "http://host",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://host:0",
        "mqtt://host:65536",
        "mqtt://host:x",
        "mqtt://host/path",
        "mqtt://host?tls=1",
        "mqtt://host#x",
        "mqtt://[::1",
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        ServerAddress.parse(url)
    assert refusal(tmp_path, server=url).startswith("the agent's setting server (DASHFLEET_AGENT_SERVER) is wrong: ")


def test_an_address_carries_no_credentials_and_the_refusal_does_not_repeat_them(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, server=f"mqtt://anna:{SECRET}@host")

    assert "must not contain a user name or password" in sentence
    assert SECRET not in sentence


# Secrets.


def test_the_password_comes_from_the_environment_before_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_secret(tmp_path / "secret", "from-the-file")
    assert agent(tmp_path, password_file=tmp_path / "secret").secret() == "from-the-file"
    monkeypatch.setenv("DASHFLEET_AGENT_PASSWORD", SECRET)
    assert agent(tmp_path, password_file=tmp_path / "secret").secret() == SECRET


def test_a_secret_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHFLEET_AGENT_PASSWORD", SECRET)
    settings = agent(tmp_path)

    for shown in (repr(settings), str(settings), masked(settings), settings.model_dump_json()):
        assert SECRET not in shown
    assert "password = '**********'" in masked(settings)
    monkeypatch.setenv("DASHFLEET_AGENT_KEEP_ALIVE_SECONDS", "x")
    assert SECRET not in refusal(tmp_path)


def test_every_setting_is_shown(tmp_path: Path) -> None:
    lines = masked(agent(tmp_path)).splitlines()

    assert [line.partition(" = ")[0] for line in lines] == list(AgentSettings.model_fields)


def test_without_a_password_the_sentence_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set DASHFLEET_AGENT_PASSWORD, or password_file to a file with mode 0600"):
        agent(tmp_path).secret()


@pytest.mark.parametrize("kind", [AgentSettings, BrokerSettings, DashboardSettings, IngestorSettings])
def test_every_setting_says_what_it_is_for(kind: type[PartSettings]) -> None:
    assert all(field.description for field in kind.model_fields.values())


def test_the_settings_of_every_part_can_be_loaded(tmp_path: Path) -> None:
    given = {"database": "sqlite://", "auth_database": "sqlite://", "machine": "attic", "key_file": tmp_path / "key"}
    kinds: list[type[PartSettings]] = [*ClientSettings.__subclasses__(), BrokerSettings]
    for kind in kinds:
        known = {name: value for name, value in given.items() if name in kind.model_fields}
        assert load(kind, tmp_path, defaults=known).data == tmp_path


# Passwords in database URLs.

DATABASE = f"postgresql+psycopg://anna:{SECRET}@host/fleet"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(IngestorSettings, "database"), (BrokerSettings, "database"), (DashboardSettings, "auth_database")],
)
def test_a_databases_password_is_refused_on_the_command_line(
    tmp_path: Path, kind: type[PartSettings], name: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(kind, tmp_path, {name: DATABASE})

    sentence = str(refused.value)
    assert f"DASHFLEET_{kind.part.upper()}_{name.upper()}" in sentence
    assert "mode 0600" in sentence
    assert SECRET not in sentence
    assert "\n" not in sentence


def test_a_databases_password_comes_from_the_environment_and_never_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHFLEET_BROKER_DATABASE", DATABASE)
    settings = load(BrokerSettings, tmp_path)

    assert settings.database.get_secret_value() == DATABASE
    for shown in (repr(settings), str(settings), masked(settings), settings.model_dump_json(), f"{settings.database}"):
        assert SECRET not in shown
    assert "database = 'postgresql+psycopg://anna:***@host/fleet'" in masked(settings)


def test_a_database_without_a_password_may_be_on_the_command_line(tmp_path: Path) -> None:
    settings = load(BrokerSettings, tmp_path, {"database": "postgresql+psycopg://anna@host/fleet?passfile=/p"})
    assert settings.database.get_secret_value().endswith("passfile=/p")


def test_a_databases_password_is_taken_from_a_file_only_if_others_cannot_read_it(tmp_path: Path) -> None:
    write(tmp_path, f'[broker]\ndatabase = "{DATABASE}"\n')
    path = tmp_path / "dashfleet.toml"
    path.chmod(0o640)
    with pytest.raises(SettingsError, match=f"can be read by others: run chmod 600 {path}") as refused:
        load(BrokerSettings, tmp_path)
    assert SECRET not in str(refused.value)
    path.chmod(0o600)
    assert load(BrokerSettings, tmp_path).database.get_secret_value() == DATABASE


# CA certificates.


@pytest.mark.parametrize(
    "content", [None, b"", b"\x30\x82\x01", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"]
)
def test_a_certificate_authority_that_cannot_be_used_is_refused_with_a_sentence(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)

    sentence = refusal(tmp_path, ca_file=path)

    assert sentence.startswith("the agent's setting ca_file (DASHFLEET_AGENT_CA_FILE) is wrong: ")
    assert str(path) in sentence


def test_a_directory_is_no_certificate_authority(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(tmp_path, ca_file=tmp_path)


# Host names.


@pytest.mark.parametrize("names", ['["fleet.example.org", "*.example.org", "*"]', "[]"])
def test_the_dashboard_takes_names_to_answer_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    monkeypatch.setenv("DASHFLEET_DASHBOARD_HOSTS", names)
    assert load(DashboardSettings, tmp_path, defaults=URLS).hosts == json.loads(names)


@pytest.mark.parametrize("name", ["", "http://x", "x:80", "a*b", "*x", "a b"])
def test_what_is_no_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DASHFLEET_DASHBOARD_HOSTS", json.dumps([name]))
    with pytest.raises(SettingsError, match="DASHFLEET_DASHBOARD_HOSTS"):
        load(DashboardSettings, tmp_path, defaults=URLS)


@pytest.mark.parametrize("mode", [0o660, 0o602, 0o646, 0o666])
def test_a_configuration_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / CONFIGURATION_FILE
    path.write_text('[agent]\nmachine = "attic"\n')
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"can be changed by other users: .*run chmod go-w {path}"):
        load(AgentSettings, tmp_path)
    path.chmod(0o644)

    assert load(AgentSettings, tmp_path).machine == "attic"


def test_a_configuration_file_that_every_user_can_replace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CONFIGURATION_FILE
    path.write_text('[agent]\nmachine = "attic"\n')
    tmp_path.chmod(0o777)
    with pytest.raises(SettingsError, match=f"every user can replace {path}: run chmod o-w {tmp_path}"):
        load(AgentSettings, tmp_path)
    tmp_path.chmod(0o1777)

    assert load(AgentSettings, tmp_path).machine == "attic"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="giving a file away needs root")
def test_a_configuration_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CONFIGURATION_FILE
    path.write_text('[agent]\nmachine = "attic"\n')
    os.chown(path, 65_534, 65_534)
    with pytest.raises(SettingsError, match="must belong to root or the user of this process"):
        load(AgentSettings, tmp_path)
