"""An object that says which process uses a folder of a store, as long as it does.

No kernel frees it. So its process writes it again every minute, and one that was not
written for ten minutes is stale. Only the store's own times are compared, since the
clocks of machines differ. A machine that was only frozen may wake up after another has
taken over: `check` says so before it changes anything.
"""

import contextlib
import logging
import secrets
import threading
from collections.abc import Iterator

from data_prep.core import json_text
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

RENEWED_EVERY_S = 60.0
STALE_AFTER_S = 600.0
# The objects of this process and their texts.
_held: dict[remote.RemotePath, str] = {}


@contextlib.contextmanager
def renewed(path: remote.RemotePath, text: str) -> Iterator[None]:
    """Writes the object of this process again and again until the context ends.

    Args:
      path: of the object, which is there.
      text: what it holds, and no other process's object.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(path, text, ended), daemon=True)
    _held[path] = text
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _held.pop(path, None)


def _renew(path: remote.RemotePath, text: str, ended: threading.Event) -> None:
    while not ended.wait(RENEWED_EVERY_S):
        try:
            found = text_of(path)
            if found != text:
                logging.warning("%s: this run ends before it writes again", _lost(path))
                return
            path.write_bytes(text.encode())
        except CommandError as e:
            logging.warning("%s; until then %s is not renewed", e, path)


def text_of(path: remote.RemotePath) -> str | None:
    """Returns what an object holds; None if there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def check(path: remote.RemotePath) -> None:
    """Raises a CommandError if this process has held the object and lost it."""
    text = _held.get(path)
    if text is not None and text_of(path) != text:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{_lost(path)}: this one no longer writes there",
            fix="let the other run go on, or end it and run this command again",
        )


def _lost(path: remote.RemotePath) -> str:
    try:
        owner = json_text.loads(text_of(path) or "")
        other = f"process {owner['pid']} on {owner['host']}"
    except (ValueError, TypeError, KeyError):
        other = f"somebody, who has deleted {path.name},"
    return f"{other} has taken over {path.parent}"


def is_stale(path: remote.RemotePath) -> bool:
    """Returns whether an object was not renewed for long, by the store's times.

    It is not where the store keeps no times.
    """
    last = path.modified()
    other = path.with_name(f".lock.time-{secrets.token_hex(4)}")
    other.write_bytes(b"now")
    try:
        now = other.modified()
    finally:
        other.unlink(missing_ok=True)
    return last is not None and now is not None and now - last > STALE_AFTER_S
