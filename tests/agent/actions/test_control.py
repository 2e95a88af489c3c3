"""The actions `container` and `service`: only what the owner's patterns permit, and nothing by default."""

import os
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import AgentUnderTest, RecordingContext, recorded, recorder
from clocks import Clock
from docker_stub import docker_stub
from pydantic import ValidationError

from agent.action import Outcome
from agent.actions import service as services
from agent.actions.container import ContainerArguments, container
from agent.actions.service import ServiceArguments, command, service
from runtime.settings.agent import AgentSettings
from schemas.actions.action_catalogue import read_actions
from schemas.actions.action_schema import read_fields


def settings(**given: Any) -> AgentSettings:  # noqa: ANN401
    return AgentSettings.model_validate({"data": Path(), "machine": "attic", **given})


def control(clock: Clock, socket: Path, name: str, operation: Any) -> Outcome | None:  # noqa: ANN401
    context = RecordingContext(clock, container_sockets=[socket])
    return container.run(ContainerArguments(name=name, operation=operation), context)


def test_a_container_is_started_stopped_and_restarted_by_its_id(tmp_path: Path, clock: Clock) -> None:
    with docker_stub(tmp_path / "docker.sock") as stub:
        stub.put("web")
        done = [control(clock, tmp_path / "docker.sock", "web", each) for each in ("stop", "stop", "start", "restart")]
        assert [(each.state, each.detail) for each in done if each] == [
            ("succeeded", "The container was stopped."),
            ("succeeded", "The container was stopped before."),
            ("succeeded", "The container was started."),
            ("succeeded", "The container was restarted."),
        ]
        id_ = next(iter(stub.containers))
        posted = [request for request in stub.requests if request.startswith("POST")]
        assert posted[0] == f"POST /containers/{id_}/stop?t=10"
        assert posted[2] == f"POST /containers/{id_}/start"
        missing = control(clock, tmp_path / "docker.sock", "../web", "stop")
        assert missing is not None
        assert missing.reason == "missing"
        stub.refuses = "no space left"
        refused = control(clock, tmp_path / "docker.sock", "web", "restart")
        assert refused == Outcome.failed("refused", "the engine did not do it: no space left")
    gone = control(clock, tmp_path / "nothing.sock", "web", "stop")
    assert gone is not None
    assert gone.reason == "unsupported"


def test_a_service_is_an_element_of_the_command_and_its_failure_is_told(tmp_path: Path, clock: Clock) -> None:
    program = recorder(tmp_path, "systemctl")
    argv = [str(program), "{operation}", "--", "{service}"]
    arguments = ServiceArguments(name="nginx.service", operation="restart")
    done = service.run(arguments, RecordingContext(clock, service_command=argv))
    assert (done and done.state, recorded(program)) == ("succeeded", [["restart", "--", "nginx.service"]])
    recorder(tmp_path, "systemctl", code=5)
    failed = service.run(arguments, RecordingContext(clock, service_command=argv))
    assert failed is not None
    assert (failed.state, failed.exit_code, failed.output) == ("failed", 5, "recorded\n")
    missing = service.run(arguments, RecordingContext(clock, service_command=["no-such-program"]))
    assert missing == Outcome.failed("not-started", "there is no program no-such-program")


def test_the_command_is_that_of_the_service_manager_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ServiceArguments(name="nginx.service", operation="stop")
    monkeypatch.setattr(services, "BOOTED", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert command(arguments, settings()) == ["systemctl", "--no-ask-password", "stop", "nginx.service"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command(arguments, settings())[:3] == ["sudo", "-n", "systemctl"]
    monkeypatch.setattr(services, "BOOTED", tmp_path / "none")
    monkeypatch.setattr(services, "find_program", lambda _name: None)
    assert command(arguments, settings()) == []
    monkeypatch.setattr(services, "find_program", lambda name: f"/sbin/{name}")
    assert command(arguments, settings())[2:] == ["rc-service", "nginx.service", "stop"]


@pytest.mark.parametrize("name", ["-x", "--now", "/etc/x", "a b", "a;b", "", "a\nb", "$(x)", "a" * 201])
def test_a_name_that_could_be_an_option_or_a_path_is_no_service(name: str) -> None:
    with pytest.raises(ValidationError):
        ServiceArguments(name=name, operation="stop")


def test_nothing_is_controlled_by_default_and_later_only_what_a_pattern_permits(tmp_path: Path, clock: Clock) -> None:
    program = recorder(tmp_path, "systemctl")
    argv = [str(program), "{operation}", "{service}"]
    machine = AgentUnderTest(
        tmp_path,
        clock,
        controlled_services=["!nginx-secret*", "nginx*"],
        controlled_containers=["web", "db"],
        service_command=argv,
    )

    def order(action: str, **arguments: str) -> tuple[str, str]:
        clock.advance(0.001)
        result = machine.outcome(machine.operator.order(action, arguments=arguments))
        return result.state, result.reason

    assert order("service", name="nginx.service", operation="stop") == ("succeeded", "")
    for name in ("sshd.service", "nginx-secret.service"):
        assert order("service", name=name, operation="stop") == ("rejected", "arguments")
    assert order("container", name="other", operation="stop") == ("rejected", "arguments")
    assert order("service", name="nginx.service", operation="disable") == ("rejected", "arguments")
    assert recorded(program) == [["stop", "nginx.service"]]

    described = {each.name: each for each in machine.infos[-1].actions}
    names = described["container"].arguments_schema["properties"]["name"]
    assert names["enum"] == ["db", "web"]
    text = described["service"].arguments_schema["properties"]["name"]["description"]
    assert text == "Permitted here: !nginx-secret*, nginx*"
    offered = read_actions([each.model_dump(mode="json") for each in machine.infos[-1].actions])
    fields = {field.name: field for field in read_fields(offered["container"].arguments_schema)}
    assert (fields["name"].choices, fields["operation"].choices) == (("db", "web"), ("start", "stop", "restart"))
    machine.kill()

    (tmp_path / "other").mkdir()
    unset = AgentUnderTest(tmp_path / "other", clock)
    clock.advance(0.001)
    refused = unset.outcome(unset.operator.order("service", arguments={"name": "nginx.service", "operation": "stop"}))
    assert (refused.state, refused.reason) == ("rejected", "arguments")
    unset.kill()
