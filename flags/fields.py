"""Flags of config fields: `define` makes a field's flag, `read` fills a config.

A flag has the name of its field, which decides all else: its annotation the type, the
values and the range, its default the flag's default. The flag adds the help text.
"""

import dataclasses
import os
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any
from typing import TypeVar

from absl import flags

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import groups as flag_groups
from flags.auto_flag import AutoFlag
from flags.groups import Groups

# absl then lists a flag under the module that calls `define`.
flags.disclaim_key_flags()

_Config = TypeVar("_Config")
_DEFINE: dict[type, Callable[..., flags.FlagHolder]] = {
    bool: flags.DEFINE_bool,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    pathlib.Path: flags.DEFINE_string,
    str: flags.DEFINE_string,
}
_NOUNS = {int: "integer", float: "number"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Kind:
    """What a field's annotation says.

    Attributes:
      scalar: type of the value, or of each value of a tuple.
      is_tuple: whether there are several values.
      is_optional: whether the value may be None.
      choices: the values that are allowed, or ().
      bounds: `lower_bound` and `upper_bound` of a number, as absl has them.
    """

    scalar: type
    is_tuple: bool
    is_optional: bool
    choices: tuple[str, ...]
    bounds: dict[str, float]


def define(
    config: type, name: str, help_text: str, *, field: str | None = None
) -> flags.FlagHolder:
    """Defines the flag of a config's field.

    Args:
      config: a dataclass.
      name: of the flag.
      help_text: its back-quoted word names the value.
      field: name of the field, where it is not the flag's.

    Raises:
      LookupError: the config has no such field.
    """
    fields = {f.name: f for f in dataclasses.fields(config)}
    field = field or name
    if field not in fields:
        raise LookupError(f"{config.__name__} has no field {field} for --{name}")
    kind, default = _kind(config, field), fields[field].default
    if default is dataclasses.MISSING:
        default = () if kind.is_tuple else None
    if kind.is_tuple:
        texts = [f"{v:g}" if kind.scalar is float else str(v) for v in default]
        return flags.DEFINE_list(name, texts, help_text)
    if kind.choices:
        return flags.DEFINE_enum(name, default, kind.choices, help_text)
    if kind.scalar is bool and kind.is_optional:
        return flags.DEFINE_flag(AutoFlag(name, help_text))
    return _DEFINE[kind.scalar](name, default, help_text, **kind.bounds)


def read(config: type[_Config], groups: Groups, **computed: Any) -> _Config:
    """Returns a config whose fields have the values of the flags of their names.

    Args:
      config: a dataclass.
      groups: the flags of the command.
      **computed: values of fields that are no flag's value.

    Raises:
      CommandError: a needed flag was not given, or a list has a value that is no
        number.
      ConfigError: the config refuses a value.
      LookupError: a field has neither a flag nor a computed value.
    """
    used, needed = groups.names(), [c[0] for c in groups.choices() if len(c) == 1]
    values = dict(computed)
    for name in (f.name for f in dataclasses.fields(config)):
        if name in computed:
            continue
        if name not in used:
            raise LookupError(f"{config.__name__}.{name} has no flag --{name}")
        if name in needed:
            required(flags.FLAGS[name])
        values[name] = _value(config, name)
    return config(**values)


def required(flag: flags.FlagHolder | flags.Flag) -> Any:
    """Returns a flag's value.

    Raises:
      CommandError: the flag was not given. (absl's own marking would bind every
        command that shares the flag.)
    """
    if not flag.value:
        raise CommandError(
            ExitCode.FLAGS,
            f"--{flag.name} is missing",
            fix=f"give it; {flag_groups.plain(flags.FLAGS[flag.name].help)}",
        )
    return flag.value


def integers(flag: flags.FlagHolder) -> tuple[int, ...]:
    """Returns a list flag's values as integers, or raises a CommandError."""
    return _converted(flag.name, int, flag.value)


def _value(config: type, name: str) -> Any:
    """Returns a flag's value in the type of its field."""
    kind, value = _kind(config, name), getattr(flags.FLAGS, name)
    if kind.is_tuple:
        scalar = path if kind.scalar is pathlib.Path else kind.scalar
        return _converted(name, scalar, value)
    if kind.scalar is pathlib.Path:
        return path(value) if value else None
    return value


def path(text: str) -> pathlib.Path:
    """Returns a path whose leading `~` or `~user` is that home folder.

    A shell expands it only at the start of a word, which `--output=~/x` is not. A text
    with :// is a path of an object store.

    Raises:
      CommandError: there is no such user, or the URL holds a password.
    """
    if remote.is_url(text):
        return remote.parse(text)
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise CommandError(
            ExitCode.FLAGS,
            f"{text} names no home folder",
            fix="correct the name after ~, or begin with ./ for a file of that name",
        )
    return pathlib.Path(expanded)


def _converted(name: str, scalar: type, texts: list[str]) -> tuple:
    try:
        return tuple(scalar(text) for text in texts)
    except ValueError as e:
        noun = _NOUNS[scalar]
        raise CommandError(
            ExitCode.FLAGS,
            f"--{name}={','.join(texts)} has a value that is no {noun}",
            fix=f"write {noun}s separated by commas",
        ) from e


def _kind(config: type, name: str) -> _Kind:
    hint = typing.get_type_hints(config, include_extras=True)[name]
    is_optional = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if is_optional:
        hint = next(a for a in typing.get_args(hint) if a is not types.NoneType)
    is_tuple = typing.get_origin(hint) is tuple
    if is_tuple:
        hint = typing.get_args(hint)[0]
    bounds = {}
    if typing.get_origin(hint) is typing.Annotated:
        hint, limits = typing.get_args(hint)
        # absl has closed bounds only; check_ranges checks the open ones.
        bounds = {"lower_bound": limits.at_least, "upper_bound": limits.at_most}
    choices = ()
    if typing.get_origin(hint) is typing.Literal:
        hint, choices = str, typing.get_args(hint)
    return _Kind(
        scalar=hint,
        is_tuple=is_tuple,
        is_optional=is_optional,
        choices=choices,
        bounds=bounds,
    )
