"""Read the settings of a part from the command line, the environment, a configuration file and defaults."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

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
    chosen = {name: value for name, value in (given or {}).items() if value is not None}
    prefix = f"DASHFLEET_{kind.part.upper()}_"
    for name in _urls_with_password(kind, chosen):
        raise SettingsError(
            f"the {name} on the command line has a password, which other users can see: move the URL to {prefix}"
            f"{name.upper()} or to [{kind.part}] in a configuration file with mode 0600, or the password to a passfile"
        )
    table = _table(kind, configuration or data / CONFIGURATION_FILE, required=configuration is not None)
    values: dict[str, Any] = {}
    for source in (defaults or {}, table, _environment(kind, prefix), chosen, {"data": data}):
        values = _merged(values, source)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_sentence(kind, error)) from None


def _environment(kind: type[PartSettings], prefix: str) -> dict[str, Any]:
    """Return the settings in the environment, in any case; tables and lists are JSON. Raises SettingsError."""
    variables = {name.upper(): value for name, value in os.environ.items()}
    found: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        variable = prefix + name.upper()
        if (value := variables.get(variable)) is None:
            continue
        try:
            found[name] = json.loads(value) if _is_structured(field.annotation) else value
        except ValueError as error:
            raise SettingsError(f"the {kind.part}'s setting {name} ({variable}) is not valid JSON: {error}") from None
    return found


def _is_structured(annotation: object) -> bool:
    """Return whether a type, or a member of a union, is a table or a list."""
    origin = get_origin(annotation)
    if origin is Annotated or origin is Union or origin is UnionType:
        return any(_is_structured(member) for member in get_args(annotation))
    kind = origin or annotation
    return isinstance(kind, type) and issubclass(kind, (dict, list, tuple))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of both; where both have one, a table is merged, and anything else is that of `above`."""
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


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
    for name in [name for name in ("password", "to_password") if name in table]:
        raise SettingsError(
            f"{path} contains a password: move it to a file with mode 0600 and set {name}_file to its path"
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
