"""Tables of plain text for a terminal or a log."""

import io
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDER_THAN_ANY = 10_000


def render(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[str] = (),
) -> str:
    """Returns one line for the header and one for each row, without a last newline.

    Two spaces separate the columns. Nothing is wrapped or coloured, so that the lines
    are the same on every terminal and in a pipe.

    Args:
      header: the columns' titles.
      rows: cells in the order of `header`.
      left: titles of the columns to align left; the others align right.
    """
    table = Table(box=None, pad_edge=False)
    for title in header:
        justify = "left" if title in left else "right"
        table.add_column(Text(title), justify=justify, no_wrap=True)
    for row in rows:
        # As Text: brackets in a string would be markup.
        table.add_row(*map(Text, row))
    file = io.StringIO()
    Console(file=file, width=_WIDER_THAN_ANY, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
