"""Runs a main: flags in, one line and an exit code out."""

import functools
import logging as logging_lib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

from absl import app
from absl import flags
from absl import logging

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from flags import command_line
from flags import help as help_text
from flags import preset
from flags.groups import Groups


def run(main: Callable[[], ExitCode | None], groups: Groups) -> None:
    """Parses flags, calls `main`, and exits with its code.

    Args:
      main: takes nothing; returns an ExitCode, None meaning DONE.
      groups: the flags that `main` uses; --help shows them, and others are refused.
    """
    # TensorFlow's native log says on every start that CUDA plugins register twice
    # and that an optional graph rewrite was skipped. Faults come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGTERM, _terminate)
    module = sys.modules[main.__module__]
    app.run(
        functools.partial(_guarded, main),
        flags_parser=functools.partial(_parsed, module, groups),
    )


def as_flagfile(groups: Groups) -> str:
    """Returns the flags of a command as a flagfile that replays it.

    A preset is not named in it: its flags are written out, so that the file replays
    the same run when the preset has changed.
    """
    names = sorted(set(groups.names()) - {preset.PRESET.name})
    ours = [flags.FLAGS[name] for name in names]
    return "".join(f"{f.serialize()}\n" for f in ours if f.value is not None)


class _Terminated(BaseException):
    """SIGTERM: what a cluster sends before it takes the machine away."""


def _terminate(signum, frame):
    raise _Terminated


def _parsed(module: ModuleType, groups: Groups, argv: list[str]) -> list[str]:
    """Parses flags; exits where they are faulty, or where help or a list was wanted."""
    # absl stops at the first fault of a command line; --help should help with it.
    asked = set(argv[1:])
    if asked & (help_text.SHORT | help_text.FULL):
        full = bool(asked & help_text.FULL)
        doc = module.__doc__ or ""
        _show(help_text.text(doc, groups, width=_width(), full=full))
    spec = module.__spec__
    try:
        left = command_line.parse(argv, spec.name if spec else argv[0], groups)
        if preset.PRESET.value == preset.LIST:
            _show(preset.table(_width()))
    except CommandError as e:
        sys.exit(_refuse(e.exit_code, str(e)))
    return left


def _show(text: str) -> NoReturn:
    """Prints what was asked for in place of the work, and exits."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # As in `--help | head`. What is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(ExitCode.DONE)


def _width() -> int:
    """Returns the terminal's width in characters, within what can be read."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, 60), 100)


def _plain_log_lines() -> None:
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    handler.setFormatter(logging_lib.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))


def _guarded(main: Callable[[], ExitCode | None], argv: list[str]) -> int:
    _plain_log_lines()
    if len(argv) > 1:
        return _refuse(
            ExitCode.FLAGS,
            f"not a flag: {argv[1]!r}; write --name=value, also in a flagfile",
        )
    try:
        return int(main() or ExitCode.DONE)
    except CommandError as e:
        return _refuse(e.exit_code, str(e))
    except ConfigError as e:
        return _refuse(ExitCode.FLAGS, str(e))
    except KeyboardInterrupt:
        return _refuse(ExitCode.INTERRUPTED, "interrupted; run it again to continue")
    except _Terminated:
        text = "terminated, what was finished is kept; run it again to continue"
        return _refuse(ExitCode.PREEMPTED, text)
    except OSError as e:
        text = f"{e.strerror}: {e.filename or 'output'}; make room or give access"
        return _refuse(ExitCode.ENVIRONMENT, text)
    except Exception:  # noqa: BLE001 - the last resort: our bug, with its traceback
        traceback.print_exc()
        return _refuse(ExitCode.BUG, "please report the lines above")


def _refuse(code: ExitCode, text: str) -> int:
    line = " ".join(text.split())
    print(f"ERROR {code.name}: {line}", file=sys.stderr)
    return int(code)
