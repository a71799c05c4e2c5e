"""What an object store answers, as one line: which path, what is wrong, the remedy.

A store that does not answer is asked again. Its own messages are not shown, since some
quote a signed address.
"""

import errno
import logging
import os
import re
import time
from collections.abc import Callable
from typing import TypeVar

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError

_Value = TypeVar("_Value")
# Waits between attempts, beside those within fsspec's file systems.
WAITS_S = (0.5, 2.0, 5.0)
INSTALL = "pip install -r requirements-cloud.txt -c constraints.txt"
# Of this machine, and not of the store.
_LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
# What callers tell apart: names, but no failures.
_NAMES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
# Of clients that are not installed, or offer no such operation, as http no writing.
_NEVER = (ImportError, NotImplementedError)
_DENIED = {"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_NO_CREDENTIALS = ("Credential", "RefreshError", "Token")


_listener: Callable[[bool], None] | None = None


def tell_waits(listener: Callable[[bool], None]) -> None:
    """Calls `listener` with True before this process waits for a store, then False.

    A time limit for an input must not count the network.
    """
    global _listener
    _listener = listener


class IncompleteReadError(OSError):
    """A store has sent fewer bytes than the object has."""


def asked(url: str, ask: Callable[[], _Value]) -> _Value:
    """Returns what a store answers, and asks again where it does not.

    Args:
      url: the object or folder.
      ask: one or more calls of fsspec that may be repeated.

    Raises:
      FileNotFoundError: there is no such object or bucket. (FileExistsError,
        IsADirectoryError and NotADirectoryError likewise.)
      CommandError: no permission, no answer, a missing package.
    """
    if _listener is None:
        return _asked(url, ask)
    _listener(True)
    try:
        return _asked(url, ask)
    finally:
        _listener(False)


def _asked(url: str, ask: Callable[[], _Value]) -> _Value:
    for wait in (*WAITS_S, None):
        try:
            return ask()
        except (CommandError, InputError):
            raise
        except _NAMES as e:
            number = e.errno or _number(e)
            raise type(e)(number, os.strerror(number), url) from e
        except Exception as e:  # noqa: BLE001 - every store has its own exceptions
            if not _is_of_store(e):
                raise _without_secrets(e) from None
            if wait is None or not _may_pass(e):
                raise explained(url, e) from e
            logging.warning(
                "%s: no answer (%s), asked again in %g s", url, _name(e), wait
            )
            time.sleep(wait)
    raise AssertionError("unreachable")


def explained(url: str, error: Exception) -> CommandError:
    """Returns an error of a store as one line."""
    if isinstance(error, ImportError):
        return CommandError(
            ExitCode.ENVIRONMENT,
            f"{url} needs a package that is not installed",
            fix=INSTALL,
        )
    if _is_denied(error):
        return CommandError(
            ExitCode.ENVIRONMENT,
            f"no permission for {url} ({_name(error)})",
            fix="give this machine credentials that may read and write there, in the "
            "environment (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, FSSPEC_*) or the "
            "files that the store's own programs use",
        )
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"the store of {url} does not do what was asked ({_name(error)}), tried "
        f"{len(WAITS_S) + 1 if _may_pass(error) else 1} times",
        fix="see that this machine reaches the store and that the store is up; the "
        "same command then goes on",
    )


def _is_of_store(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno not in _LOCAL
    # asyncio's own is another class before Python 3.11.
    if isinstance(error, _NEVER) or type(error).__name__ == "TimeoutError":
        return True
    package = type(error).__module__.partition(".")[0]
    # A TypeError and its like are our own faults, and so stay what they are.
    return package not in ("builtins", "data_prep", "trainer", "inference")


# What stands before the host of an address, and its query.
_USER = re.compile(r"://[^\s/]*@")
_QUERY = re.compile(r"(://[^\s?]*\?)\S*")


def _without_secrets(error: Exception) -> Exception:
    """Returns an error whose text has no signature, token or password of an address.

    It has the same traceback, and the same class if that is made of a text.
    """
    hidden = without_secrets(str(error))
    chain = [e for e in (error.__cause__, error.__context__) if e]
    if str(error) == hidden and not chain:
        return error
    try:
        told_again = type(error)(hidden)
    except Exception:  # noqa: BLE001 - a class may want other arguments
        told_again = RuntimeError(f"{type(error).__name__}: {hidden}")
    return told_again.with_traceback(error.__traceback__)


def without_secrets(text: str) -> str:
    """Returns a text whose addresses have neither queries nor passwords."""
    return _QUERY.sub(r"\1...", _USER.sub("://...@", text))


def _may_pass(error: Exception) -> bool:
    return not (isinstance(error, _NEVER) or _is_denied(error))


def _is_denied(error: Exception) -> bool:
    if isinstance(error, PermissionError) or _code(error) in _DENIED:
        return True
    return any(word in type(error).__name__ for word in _NO_CREDENTIALS)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "code", None) or "")


def _name(error: Exception) -> str:
    """Returns an exception's class and code; its message may hold an address."""
    cause = error.__cause__
    code = _code(error) or (_code(cause) if isinstance(cause, Exception) else "")
    if not code and isinstance(error, OSError) and error.errno:
        code = errno.errorcode.get(error.errno, "")
    return f"{type(error).__name__}{f' {code}' if code.isalnum() else ''}"


def _number(error: OSError) -> int:
    return {
        FileNotFoundError: errno.ENOENT,
        FileExistsError: errno.EEXIST,
        IsADirectoryError: errno.EISDIR,
        NotADirectoryError: errno.ENOTDIR,
    }[type(error)]
