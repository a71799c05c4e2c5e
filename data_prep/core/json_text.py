"""Parses JSON that others wrote, whose depth Python's parser does not bound.

A text of some thousand brackets ends it with a RecursionError, which is no ValueError.
"""

import json
from typing import Any

MAX_DEPTH = 100


def loads(text: str | bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
      ValueError: it is no JSON, nested more than MAX_DEPTH deep, or has NaN or
        Infinity, which Python writes and JSON does not have.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError as e:
        raise ValueError("nested too deep") from e
    _check_depth(value)
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError("nested too deep")
