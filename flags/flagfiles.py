"""Looks at the files of --flagfile before absl reads them, which has no limits.

A flagfile may come from somebody else, as that of a run folder does. It may include
others by a line --flagfile=FILE: itself, of which absl only warns; one twice, which
does the same, and so on to millions of lines; or a device without an end.
"""

import os
import pathlib
import re
import stat
from collections.abc import Iterator
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

MAX_BYTES = 1 << 20
MAX_FILES = 100
_NAMED = re.compile(r"--?flagfile(?:=(.*))?", re.DOTALL)
_FIX = "give a file of a command's flags, one --name=value a line"


def check(argv: Sequence[str]) -> None:
    """Raises a CommandError for flagfiles that have no end or include themselves.

    What else is wrong with a file, absl says when it reads it.

    Args:
      argv: the program's name and the arguments.
    """
    # Each with the files that include it.
    waiting = [(path, ()) for path in _of_command_line(argv)]
    count = 0
    while waiting:
        path, outer = waiting.pop()
        real = os.path.realpath(path)
        if real in outer:
            raise _refused(path, "includes itself")
        count += 1
        if count > MAX_FILES:
            raise _refused(path, f"is one of more than {MAX_FILES} that are included")
        text = _read(path, is_included=bool(outer))
        waiting += [(inner, (*outer, real)) for inner in _included(text)]


def _of_command_line(argv: Sequence[str]) -> Iterator[str]:
    arguments = argv[1:]
    for k, argument in enumerate(arguments):
        if match := _NAMED.fullmatch(argument):
            following = arguments[k + 1 : k + 2] or [""]
            yield _path(following[0] if match[1] is None else match[1])


def _included(text: str) -> Iterator[str]:
    # As absl divides and reads lines.
    for line in re.split("\r\n|\r|\n", text):
        match = _NAMED.fullmatch(line)
        if match and match[1]:
            yield _path(match[1])


def _path(name: str) -> str:
    return os.path.expanduser(name.strip())


def _read(name: str, *, is_included: bool) -> str:
    path = pathlib.Path(name)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(mode):
        # A shell gives a pipe for <(command), which can be read only once.
        if stat.S_ISFIFO(mode) and not is_included:
            return ""
        raise _refused(name, "is no file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return ""
    if len(data) > MAX_BYTES:
        raise _refused(name, f"has over {MAX_BYTES >> 10} KiB")
    return data.decode(errors="replace")


def _refused(name: str, what: str) -> CommandError:
    return CommandError(ExitCode.FLAGS, f"flagfile {name} {what}", fix=_FIX)
