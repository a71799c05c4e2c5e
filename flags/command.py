"""Runs a main: parses flags, reports an error in one line, sets the exit code."""

import functools
import logging as logging_lib
import os
import select
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

from data_prep.core import own_files
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from flags import command_line
from flags import help as help_text
from flags import os_errors
from flags import preset
from flags.groups import Groups


def run(main: Callable[[], ExitCode | None], groups: Groups) -> None:
    """Parses flags, calls `main`, and exits with its code.

    Args:
      main: function without arguments that returns an ExitCode, or None for DONE.
      groups: the flags that `main` uses; --help shows them, and others are refused.
    """
    # TensorFlow's C++ log warns on every start about CUDA plugins that register twice
    # and a skipped graph rewrite. Real errors are raised as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGTERM, _terminate)
    own_files.keep_from_others()
    module = sys.modules[main.__module__]
    app.run(
        functools.partial(_guarded, main),
        flags_parser=functools.partial(_parsed, module, groups),
    )


def as_flagfile(groups: Groups) -> str:
    """Returns the flags of a command as the text of a flagfile that replays it.

    The text has the flags of a preset but not its name, so that it replays the same
    run after the preset has changed.
    """
    names = sorted(set(groups.names()) - {preset.PRESET.name})
    used = [flags.FLAGS[name] for name in names]
    return "".join(f"{f.serialize()}\n" for f in used if f.value is not None)


class _Terminated(BaseException):
    """SIGTERM, which a cluster sends before it takes the machine away."""


def _terminate(signum, frame):
    raise _Terminated


def _parsed(module: ModuleType, groups: Groups, argv: list[str]) -> list[str]:
    """Parses flags; exits on invalid flags, and after printing help or presets."""
    # absl raises at the first invalid flag, where --help should still be printed.
    arguments = set(argv[1:])
    if arguments & (help_text.SHORT | help_text.FULL):
        full = bool(arguments & help_text.FULL)
        doc = module.__doc__ or ""
        _show(help_text.text(doc, groups, width=_width(), full=full))
    spec = module.__spec__
    try:
        positional = command_line.parse(argv, spec.name if spec else argv[0], groups)
        if preset.PRESET.value == preset.LIST:
            _show(preset.table(_width()))
    except CommandError as e:
        sys.exit(_refuse(e.exit_code, str(e)))
    return positional


def _show(text: str) -> NoReturn:
    """Prints a text and exits with DONE."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # As in `--help | head`.
        _drop_output()
    sys.exit(ExitCode.DONE)


def _width() -> int:
    """Returns the terminal's width in characters, limited to 60 to 100."""
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
        code = int(main() or ExitCode.DONE)
        # Here and not at the end of the process, which would not say what went wrong.
        sys.stdout.flush()
        return code
    except CommandError as e:
        return _refuse(e.exit_code, str(e))
    except ConfigError as e:
        return _refuse(ExitCode.FLAGS, str(e))
    except KeyboardInterrupt:
        return _refuse(ExitCode.INTERRUPTED, "interrupted; run it again to continue")
    except _Terminated:
        text = "terminated, what was finished is kept; run it again to continue"
        return _refuse(ExitCode.PREEMPTED, text)
    except Exception as e:  # noqa: BLE001 - the last resort
        return _unforeseen(e)


def _unforeseen(error: Exception) -> int:
    """Reports an error that is none of our own, and returns the exit code.

    A traceback is left out only where one line tells a user all that is needed.
    """
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        text = "the program that read the output has ended; what is in files is kept"
        return _refuse(ExitCode.ENVIRONMENT, text)
    if isinstance(error, OSError) and (fix := os_errors.fix(error)):
        where = error.filename or "output"
        return _refuse(ExitCode.ENVIRONMENT, f"{error.strerror}: {where}; {fix}")
    traceback.print_exception(error)
    if isinstance(error, MemoryError):
        text = "this process is out of memory; end other programs, or give it less work"
        return _refuse(ExitCode.ENVIRONMENT, text)
    if isinstance(error, OSError) and error.errno in os_errors.OF_MACHINE:
        where = f": {error.filename}" if error.filename else ""
        text = f"{error.strerror}{where}; see the lines above: this machine, a disk or "
        text += "a network"
        return _refuse(ExitCode.ENVIRONMENT, text)
    return _refuse(ExitCode.BUG, "please report the lines above")


def _reader_is_gone() -> bool:
    """Returns whether stdout is a closed pipe, as in `command | head`; drops it then.

    A broken pipe may be that of a worker process as well.
    """
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except ValueError:
        # No file, as in a notebook.
        return False
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    _drop_output()
    return True


def _drop_output() -> None:
    """Sends stdout to /dev/null: Python flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(code: ExitCode, text: str) -> int:
    line = " ".join(text.split())
    print(f"ERROR {code.name}: {line}", file=sys.stderr)
    return int(code)
