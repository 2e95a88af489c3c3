import socket
from pathlib import Path

import pytest
from servers import free_port

from dashboard import app
from schemas.database import DatabaseError, sqlite_url
from schemas.settings import DashboardSettings


def settings(directory: Path, **given: object) -> DashboardSettings:
    ordinary = {
        "data": directory,
        "port": free_port(),
        "database": sqlite_url(directory / "fleet.db"),
        "auth_database": sqlite_url(directory / "auth.db"),
    }
    return DashboardSettings(**{**ordinary, **given})


def test_streamlit_still_knows_every_option(tmp_path: Path) -> None:
    from streamlit import config

    known = set(config.get_config_options())
    assert set(app.options(settings(tmp_path))) <= known


def test_a_taken_port_is_refused_with_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(app.ServeError, match=rf"port {port} on 127\.0\.0\.1 is taken.*DASHFLEET_DASHBOARD_PORT"):
            app.run(settings(tmp_path, port=port), lambda: pytest.fail("it is not ready"))
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_not_ours_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(app.ServeError, match=r"cannot listen on 192\.0\.2\.1"):
        app.run(settings(tmp_path, bind="192.0.2.1"), lambda: None)


def test_an_auth_database_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError):
        app.run(settings(tmp_path, auth_database=sqlite_url(tmp_path / "file" / "auth.db")), lambda: None)


def test_on_loopback_only_its_own_names_are_answered() -> None:
    assert "*" not in app._hosts("127.0.0.1")
    assert "*" not in app._hosts("localhost")
    assert app._hosts("192.0.2.1") == ["*"]
