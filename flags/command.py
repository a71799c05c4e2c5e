"""Runs a main: flags in, one line and an exit code out."""

import functools
import logging as logging_lib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import ModuleType

from absl import app
from absl import flags
from absl import logging

from data_prep.failures import BadValue
from data_prep.failures import ExitCode
from data_prep.failures import Failure


def run(main: Callable[[], ExitCode | None], *modules: ModuleType) -> None:
    """Parses flags, calls `main`, and exits with its code.

    Args:
      main: takes nothing; returns an ExitCode, None meaning DONE.
      modules: of `flags/`, whose flags `--help` is to show.
    """
    # TensorFlow's native log says on every start that CUDA plugins register twice
    # and that an optional graph rewrite was skipped. Faults come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for module in modules:
        flags.adopt_module_key_flags(module)
    signal.signal(signal.SIGTERM, _terminate)
    app.run(functools.partial(_guarded, main))


def as_flagfile(*modules: ModuleType) -> str:
    """Returns our own flags of this process as a flagfile that replays it.

    Args:
      *modules: of `flags/`, whose flags to return; all without.
    """
    by_module = flags.FLAGS.flags_by_module_dict()
    names = [module.__name__ for module in modules]
    names = names or [name for name in by_module if name.startswith("flags.")]
    ours = [flag for name in names for flag in by_module.get(name, [])]
    ours.sort(key=lambda flag: flag.name)
    return "".join(f"{f.serialize()}\n" for f in ours if f.value is not None)


class _Terminated(BaseException):
    """SIGTERM: what a cluster sends before it takes the machine away."""


def _terminate(signum, frame):
    raise _Terminated


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
    except Failure as e:
        return _refuse(e.exit_code, str(e))
    except BadValue as e:
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
