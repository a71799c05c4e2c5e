"""The mini-language of the flags: `name(1, key=2)|other`, `bce(3)+dice(1)`.

One grammar serves CLAHE, models, augmentation, losses and post-processing:

    terms := term (separator term)*            separator is "|" or "+"
    term  := name [ "(" [argument ("," argument)*] ")" ]
    argument := [name "="] (number | range | true | false | word | term)
    range := number ":" number

A range becomes a pair of numbers. Positional arguments may follow keyword arguments.
A name without parentheses is a string among the arguments, and a term elsewhere.

The parser is our own because Python's `ast` refuses ranges, hyphens in names and
positional arguments after keywords. Rewriting those for it takes as many lines, and
its messages would then quote the rewritten text.
"""

import dataclasses
import re
from typing import Any
from typing import NoReturn

from data_prep.core.errors import ConfigError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<mark>\S)"
    r"|(?P<end>\Z))"
)
_WORDS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Term:
    """One call in a spec: a name, its arguments and its keyword arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()

    def __str__(self):
        parts = [_format(value) for value in self.args]
        parts += [f"{key}={_format(value)}" for key, value in self.kwargs]
        return f"{self.name}({', '.join(parts)})" if parts else self.name


def parse(text: str, *, separator: str = "|") -> tuple[Term, ...]:
    """Parses `text` to its terms.

    Raises:
      ConfigError: the text does not follow the grammar; the message has the text,
        the position and what was expected there.
    """
    return _Parser(text).terms(separator)


def parse_one(text: str) -> Term:
    """Parses a spec that consists of exactly one term."""
    terms = parse(text)
    if len(terms) != 1:
        raise ConfigError(f"Expected one term without '|'. Received: spec={text!r}")
    return terms[0]


def call(term: Term, table: dict[str, Any], *, kind: str) -> Any:
    """Calls `table[term.name]` with the term's arguments.

    Raises:
      ConfigError: the table lacks the name (the message lists the known ones), or
        the arguments do not fit.
    """
    if term.name not in table:
        raise ConfigError(
            f"Unknown {kind}. Expected one of {sorted(table)}. Received: {term.name!r}"
        )
    try:
        return table[term.name](*term.args, **dict(term.kwargs))
    except TypeError as e:
        raise ConfigError(f"Arguments of {kind} {str(term)!r} do not fit: {e}") from e


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Parser:
    """A recursive-descent parser with one token of lookahead."""

    def __init__(self, text: str):
        self._text = text
        self._matches = _TOKEN.finditer(text)
        self._token = ""
        self._advance()

    def terms(self, separator: str) -> tuple[Term, ...]:
        terms = [self._term(self._name())]
        while self._skip(separator):
            terms.append(self._term(self._name()))
        if self._kind != "end":
            self._fail(f"{separator!r} or the end")
        return tuple(terms)

    def _term(self, name: str) -> Term:
        """Parses the arguments, if any, that follow a name."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        if self._skip("("):
            while not self._skip(")"):
                key, value = self._argument()
                if key in kwargs:
                    self._fail(f"{key!r} only once")
                if key is None:
                    args.append(value)
                else:
                    kwargs[key] = value
                if not self._skip(",") and self._token != ")":
                    self._fail("',' or ')'")
        return Term(name, tuple(args), tuple(kwargs.items()))

    def _argument(self) -> tuple[str | None, Any]:
        """Parses one argument to its keyword, if any, and its value."""
        if self._kind == "number":
            return None, self._number_or_range()
        name = self._name()
        if not self._skip("="):
            return None, self._word_or_term(name)
        if self._kind == "number":
            return name, self._number_or_range()
        return name, self._word_or_term(self._name())

    def _number_or_range(self) -> int | float | tuple[int | float, int | float]:
        first = _number(self._advance())
        if not self._skip(":"):
            return first
        if self._kind != "number":
            self._fail("a number")
        return first, _number(self._advance())

    def _word_or_term(self, name: str) -> bool | str | Term:
        return self._term(name) if self._token == "(" else _WORDS.get(name, name)

    def _name(self) -> str:
        if self._kind != "name":
            self._fail("a name")
        return self._advance()

    def _skip(self, mark: str) -> bool:
        """Moves past `mark` if it comes next; returns whether it did."""
        skipped = self._token == mark
        if skipped:
            self._advance()
        return skipped

    def _advance(self) -> str:
        """Returns the current token and moves to the next."""
        token = self._token
        match = next(self._matches)
        self._kind = match.lastgroup
        self._token = match[self._kind]
        self._column = match.start(self._kind)
        return token

    def _fail(self, expected: str) -> NoReturn:
        raise ConfigError(
            f"Expected {expected} at character {self._column}. "
            f"Received: spec={self._text!r}"
        )


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)
