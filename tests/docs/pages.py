"""The commands of README.md and of the pages in docs/, as their blocks show them."""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
# What a command begins with; other lines of a block are a picture, a table or output.
_PROGRAMS = re.compile(
    r"(?:\(|export |[A-Z_]+=\S+ )*"
    r"(make|python|pip|bash|sbatch|docker|kubectl|ray|scp|umask|curl|export) ?"
)


@dataclasses.dataclass(frozen=True, order=True)
class Command:
    """A command of a page.

    Attributes:
      page: such as "docs/install.md".
      text: the command in one line, without its comment.
    """

    page: str
    text: str


def all_pages() -> list[str]:
    """Returns README.md and the pages of docs/."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [str(page.relative_to(ROOT)) for page in pages]


def commands(page: str) -> list[Command]:
    """Returns the commands of a page, in order."""
    found = []
    for block in _blocks((ROOT / page).read_text()):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if _PROGRAMS.match(line):
                text = re.sub(r"\s+#\s.*$", "", line)
                found.append(Command(page=page, text=" ".join(text.split())))
    return found


def _blocks(text: str) -> list[str]:
    """Returns fenced blocks of a shell, and indented ones, in their order."""
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    blocks = [(m.start(), m[2]) for m in fenced.finditer(text) if m[1] in ("sh", "")]
    rest = fenced.sub(lambda m: "\n" * m[0].count("\n") + " " * len(m[0]), text)
    indented = re.compile(r"(?:^ {4}.*\n|^\n(?= {4}))+", re.MULTILINE)
    for match in indented.finditer(rest):
        lines = [line[4:] for line in match[0].splitlines()]
        blocks.append((match.start(), "\n".join(lines) + "\n"))
    return [block for _, block in sorted(blocks)]
