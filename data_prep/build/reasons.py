"""Logs why inputs are bad: each reason with its count, then the inputs."""

import collections
import logging
from collections.abc import Sequence

from data_prep.source.quarantine import Row

_SHOWN = 10
_EXAMPLES = 3


def log(rows: Sequence[Row], *, shown: int | None = _SHOWN) -> None:
    """Logs one line for each code, then a line for each input.

    Args:
      rows: path, code, reason and fix of each input.
      shown: how many inputs get a line; None shows all.
    """
    paths_of = collections.defaultdict(list)
    first_of: dict[str, Row] = {}
    for row in rows:
        paths_of[row[1]].append(row[0])
        first_of.setdefault(row[1], row)
    for code, paths in sorted(paths_of.items(), key=lambda item: -len(item[1])):
        _, _, reason, fix = first_of[code]
        more = ", ..." * (len(paths) > _EXAMPLES)
        examples = ", ".join(paths[:_EXAMPLES])
        logging.warning(
            "%s: %d input(s), %s%s: %s%s; %s",
            code,
            len(paths),
            examples,
            more,
            "the first: " if len(paths) > 1 else "",
            reason,
            fix,
        )
    for path, code, reason, fix in rows[:shown]:
        logging.warning("quarantined %s: %s, %s; %s", path, code, reason, fix)
    if shown is not None and len(rows) > shown:
        logging.warning("... and %d more, see quarantine.csv", len(rows) - shown)
