"""Read the settings of a part from the command line, the environment, a configuration file and defaults."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from runtime.errors import SettingsError
from runtime.settings.part_settings import PartSettings
from runtime.settings.secret_files import others_can_read, require_unchangeable
from runtime.urls import DatabaseUrl

CONFIGURATION_FILE = "dashfleet.toml"

S = TypeVar("S", bound=PartSettings)


def load(
    kind: type[S],
    data: Path,
    given: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    configuration: Path | None = None,
) -> S:
    """Return the settings of a part.

    `data` is the state directory, `given` the command-line options (None for options not given), `defaults` replaces
    defaults of the model. `configuration` must exist; without it, `dashfleet.toml` in `data` is read if it exists.
    Raises SettingsError.
    """
    from pydantic_settings.exceptions import SettingsError as SourceError

    chosen = {name: value for name, value in (given or {}).items() if value is not None}
    prefix = f"DASHFLEET_{kind.part.upper()}_"
    for name in _urls_with_password(kind, chosen):
        raise SettingsError(
            f"the {name} on the command line has a password, which other users can see: move the URL to {prefix}"
            f"{name.upper()} or to [{kind.part}] in a configuration file with mode 0600, or the password to a passfile"
        )
    table = _table(kind, configuration or data / CONFIGURATION_FILE, required=configuration is not None)
    try:
        found = _with_sources(kind, prefix, [{"data": data}, table, dict(defaults or {})])(**chosen)
        return cast("S", kind.model_construct(**dict(found)))
    except ValidationError as error:
        raise SettingsError(_sentence(kind, error)) from None
    except SourceError as error:  # only tables and lists are read as JSON
        raise SettingsError(f"an environment variable {prefix}… is not valid JSON: {error}") from None


def _with_sources(kind: type[S], prefix: str, others: list[dict[str, Any]]) -> type[S]:
    """Derive a model that reads the environment too: after the first of `others` and the arguments, before the rest."""
    from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

    class Sources(kind, BaseSettings):  # type: ignore[valid-type, misc]  # the model is chosen at run time
        model_config = SettingsConfigDict(env_prefix=prefix)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not a source here
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not a source here
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            first, *rest = (InitSettingsSource(settings_cls, init_kwargs=values) for values in others)
            return first, init_settings, env_settings, *rest

    return Sources


def _table(kind: type[PartSettings], path: Path, *, required: bool) -> dict[str, Any]:
    part = kind.part
    try:
        with path.open("rb") as file:
            table = tomllib.load(file).get(part, {})
            status = os.fstat(file.fileno())
        exposed = others_can_read(path, status)
        require_unchangeable(path, status)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise SettingsError(f"there is no configuration file {path}") from None
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read the configuration file {path}: {error}") from None
    if not isinstance(table, dict):
        raise SettingsError(f"[{part}] in {path} must be a table")
    if "password" in table:
        raise SettingsError(
            f"{path} contains a password: move it to a file with mode 0600 and set password_file to its path"
        )
    if exposed and _urls_with_password(kind, table):
        raise SettingsError(f"{path} contains a database password and can be read by others: run chmod 600 {path}")
    return table


def _urls_with_password(kind: type[PartSettings], values: Mapping[str, Any]) -> list[str]:
    names = [name for name, field in kind.model_fields.items() if field.annotation is DatabaseUrl]
    return [name for name in names if DatabaseUrl(str(values.get(name, ""))).has_password]


def _sentence(kind: type[PartSettings], error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    name = ".".join(str(level) for level in first["loc"])
    variable = f"DASHFLEET_{kind.part.upper()}_{str(first['loc'][0]).upper()}"
    if first["type"] == "extra_forbidden":
        return f"there is no setting {name} for the {kind.part}: remove it from [{kind.part}] in {CONFIGURATION_FILE}"
    return f"the {kind.part}'s setting {name} ({variable}) is wrong: {first['msg'].removeprefix('Value error, ')}"


def masked(settings: PartSettings) -> str:
    """Return the effective settings as TOML-like lines, with secrets masked."""
    values = settings.model_dump(mode="json")
    return "\n".join(f"{name} = {values[name]!r}" for name in type(settings).model_fields)
