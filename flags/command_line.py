"""From a command line to flags; what a command does not use is refused."""

import re

from absl import flags

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import groups as flag_groups
from flags import preset
from flags.groups import Groups

_SEE = "--help lists the flags of this command"


def parse(argv: list[str], command: str, groups: Groups) -> list[str]:
    """Sets the flags; returns `argv` without them.

    A flag that is given, on the command line or in a flagfile, wins over the preset's,
    in whatever order they are.

    Args:
      argv: the program's name and the arguments.
      command: its name, as `trainer.main`.
      groups: the flags it uses.

    Raises:
      CommandError: an unknown flag or preset, a flag that the command does not use,
        or a bad value.
    """
    left = _parsed(argv, groups)
    _refuse_unused(argv, command, groups)
    name = preset.PRESET.value
    if name and name != preset.LIST:
        left = _parsed([argv[0], *preset.read(name).arguments, *argv[1:]], groups)
    return left


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
        # absl begins some of its texts with this, and ours stands before it already.
        text = str(e).removeprefix("ERROR:: ").rstrip(".")
        raise CommandError(ExitCode.FLAGS, text, fix=_SEE) from e


def _refuse_unused(argv: list[str], command: str, groups: Groups) -> None:
    used = groups.names()
    for flag in ours():
        if not flag.present or flag.name in used or _harmless(flag, argv, groups):
            continue
        by = groups.decided.get(flag.name)
        tip = f"give --{by}; " if by else flag_groups.nearest(flag.name, used)
        raise CommandError(
            ExitCode.FLAGS, f"{command} does not use --{flag.name}", fix=tip + _SEE
        )


def ours() -> list[flags.Flag]:
    """Returns the flags that this package defines, as far as it is imported."""
    by_module = flags.FLAGS.flags_by_module_dict()
    return [f for m, fs in by_module.items() if m.startswith("flags.") for f in fs]


def _harmless(flag: flags.Flag, argv: list[str], groups: Groups) -> bool:
    """Tells whether a flagfile has the flag, and nothing is lost without it.

    The files that replay a run are given to other commands, too; and those of earlier
    versions hold every flag with its default.
    """
    written = re.compile(rf"--?(no)?{flag.name}(=.*)?", re.DOTALL)
    if any(written.fullmatch(argument) for argument in argv[1:]):
        return False
    return flag.name in groups.decided or flag.value == flag.default
