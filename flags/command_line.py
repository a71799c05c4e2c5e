"""Parses a command line and refuses flags that the command does not use."""

import re

from absl import flags

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import flagfiles
from flags import groups as flag_groups
from flags import preset
from flags.groups import Groups

_SEE = "--help lists the flags of this command"


def parse(argv: list[str], command: str, groups: Groups) -> list[str]:
    """Sets the flags and returns the program's name and the positional arguments.

    A flag on the command line or in a flagfile overrides the preset's, in any order.

    Args:
      argv: the program's name and the arguments.
      command: name of the command, such as `trainer.main`.
      groups: the flags that the command uses.

    Raises:
      CommandError: an unknown flag or preset, a flag that the command does not use,
        a bad value, or a flagfile without an end.
    """
    flagfiles.check(argv)
    positional = _parsed(argv, groups)
    _refuse_unused(argv, command, groups)
    name = preset.PRESET.value
    if name and name != preset.LIST:
        # The last value of a flag counts, so that the preset goes first.
        arguments = [*preset.read(name).arguments, *argv[1:]]
        positional = _parsed([argv[0], *arguments], groups)
    return positional


def _parsed(argv: list[str], groups: Groups) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as e:
        raise CommandError(
            ExitCode.FLAGS,
            f"Unknown command line flag {e.flagname!r}",
            fix=flag_groups.nearest(e.flagname, groups.names()) + _SEE,
        ) from e
    except (flags.Error, ValueError) as e:
        # Some of absl's messages start with a prefix, and command.py adds its own.
        text = str(e).removeprefix("ERROR:: ").rstrip(".")
        raise CommandError(ExitCode.FLAGS, text, fix=_SEE) from e


def _refuse_unused(argv: list[str], command: str, groups: Groups) -> None:
    used = groups.names()
    for flag in project_flags():
        if not flag.present or flag.name in used or _harmless(flag, argv, groups):
            continue
        other = groups.decided.get(flag.name)
        tip = f"give --{other}; " if other else flag_groups.nearest(flag.name, used)
        raise CommandError(
            ExitCode.FLAGS, f"{command} does not use --{flag.name}", fix=tip + _SEE
        )


def project_flags() -> list[flags.Flag]:
    """Returns the flags that the imported modules of this package define."""
    by_module = flags.FLAGS.flags_by_module_dict()
    return [f for m, fs in by_module.items() if m.startswith("flags.") for f in fs]


def _harmless(flag: flags.Flag, argv: list[str], groups: Groups) -> bool:
    """Returns whether an unused flag comes from a flagfile and may be ignored.

    Users pass the flags.txt of a run to other commands, too, and earlier versions
    wrote every flag with its default.
    """
    pattern = re.compile(rf"--?(no)?{flag.name}(=.*)?", re.DOTALL)
    if any(pattern.fullmatch(argument) for argument in argv[1:]):
        return False
    return flag.name in groups.decided or flag.value == flag.default
