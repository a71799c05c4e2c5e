"""The mini-language of the flags: `name(1, key=2)|other`, `bce(3)+dice(1)`.

One grammar serves CLAHE, models, augmentation, losses and post-processing:

    terms := term (separator term)*            separator is "|" or "+"
    term  := name [ "(" [argument ("," argument)*] ")" ]
    argument := [name "="] (number | range | true | false | word | term)
    range := number ":" number

A range is a pair of numbers. Arguments may come in any order; a word without
parentheses is a string where the callee wants one, and a term where it wants one.
"""

import dataclasses
import re
from typing import Any

from data_prep.core.errors import ConfigError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<mark>[()=,|+:])"
    r"|(?P<bad>\S))"
)
_WORDS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Term:
    """One call of a spec: a name, its arguments and its keyword arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()

    def __str__(self):
        parts = [_show(a) for a in self.args]
        parts += [f"{k}={_show(v)}" for k, v in self.kwargs]
        return f"{self.name}({', '.join(parts)})" if parts else self.name


def parse(text: str, *, separator: str = "|") -> tuple[Term, ...]:
    """Parses `text` to its terms.

    Raises:
      ConfigError: naming the text, the position and what was expected there.
    """
    return _Parser(text, separator).terms()


def parse_one(text: str) -> Term:
    """Parses a spec that consists of exactly one term."""
    terms = parse(text)
    if len(terms) != 1:
        raise ConfigError(f"Expected one term without '|'. Received: spec={text!r}")
    return terms[0]


def call(term: Term, table: dict[str, Any], *, kind: str) -> Any:
    """Calls `table[term.name]` with the term's arguments.

    Raises:
      ConfigError: for a name that the table lacks (listing the known ones) and
        for arguments that do not fit.
    """
    if term.name not in table:
        raise ConfigError(
            f"Unknown {kind}. Expected one of {sorted(table)}. Received: {term.name!r}"
        )
    try:
        return table[term.name](*term.args, **dict(term.kwargs))
    except TypeError as e:
        raise ConfigError(f"Arguments of {kind} {str(term)!r} do not fit: {e}") from e


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Parser:
    def __init__(self, text: str, separator: str):
        self._text = text
        self._separator = separator
        self._tokens = [m for m in _TOKEN.finditer(text) if m.lastgroup]
        self._next = 0

    def terms(self) -> tuple[Term, ...]:
        found = [self._term()]
        while self._take(self._separator):
            found.append(self._term())
        if self._next < len(self._tokens):
            self._fail(f"{self._separator!r} or the end")
        return tuple(found)

    def _term(self) -> Term:
        name = self._kind("name")
        if name is None:
            self._fail("a name")
        args, kwargs = [], []
        if self._take("("):
            while not self._take(")"):
                key, value = self._argument()
                if key in [k for k, _ in kwargs]:
                    self._fail(f"{key!r} only once")
                kwargs.append((key, value)) if key else args.append(value)
                if not self._take(",") and self._peek() != ")":
                    self._fail("',' or ')'")
        return Term(name, tuple(args), tuple(kwargs))

    def _argument(self) -> tuple[str | None, Any]:
        number = self._number()
        if number is not None:
            return None, number
        start = self._next
        key = self._kind("name")
        if key is not None and self._take("="):
            number = self._number()
            return key, self._value() if number is None else number
        self._next = start
        return None, self._value()

    def _number(self) -> int | float | tuple[int | float, int | float] | None:
        """Takes a number or a range, which is a pair; None where neither is."""
        first = self._kind("number")
        if first is None or not self._take(":"):
            return None if first is None else _number(first)
        second = self._kind("number")
        if second is None:
            self._fail("a number")
        return _number(first), _number(second)

    def _value(self) -> Any:
        term = self._term()
        called = self._tokens[self._next - 1]["mark"] == ")"
        return term if called else _WORDS.get(term.name, term.name)

    def _peek(self) -> str | None:
        if self._next == len(self._tokens):
            return None
        return self._tokens[self._next][self._tokens[self._next].lastgroup]

    def _kind(self, kind: str) -> str | None:
        if self._next == len(self._tokens):
            return None
        text = self._tokens[self._next][kind]
        self._next += text is not None
        return text

    def _take(self, mark: str) -> bool:
        taken = (
            self._next < len(self._tokens) and self._tokens[self._next]["mark"] == mark
        )
        self._next += taken
        return taken

    def _fail(self, expected: str):
        at = len(self._text)
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            at = token.start(token.lastgroup)
        raise ConfigError(
            f"Expected {expected} at character {at}. Received: spec={self._text!r}"
        )


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)
