"""Parses the verdicts on goals in a benchmark's printed report.

Every benchmark prints Markdown tables (timing.py) in which each goal is "met", "MISSED"
or "unmeasured". So the summary uses the text that a reader sees, and no benchmark
depends on another.
"""

import dataclasses
import re

MET, MISSED, UNMEASURED = "met", "MISSED", "unmeasured"
_WORD = re.compile(rf"\b({MET}|{MISSED}|{UNMEASURED})\b(: \w+)?")
_RATIO = re.compile(r"\d+\.\d+( \(\d+\.\d+ to \d+\.\d+\))")
_GOAL = re.compile(r"(?:goal )?((?:[<>]= ?)?\d+(?:\.\d+)?)$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One table row or line of text with the verdict on a goal.

    Attributes:
      what: what is compared, from the row's first cells.
      ratio: the measured ratio with its column's name, or ''.
      goal: the goal as printed.
      verdicts: the verdicts in printed order, each with its column's name.
    """

    what: str
    ratio: str
    goal: str
    verdicts: tuple[str, ...]

    def says(self, word: str) -> bool:
        """Whether any verdict is `word`."""
        return any(word in verdict for verdict in self.verdicts)


def of_report(text: str) -> list[Finding]:
    """Returns the findings of a report in the order of its lines."""
    found, header = [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            if not line.startswith("{") and (finding := _of_text(line)):
                found.append(finding)
        elif header is None:
            header = _cells(line)
        elif finding := _of_row(header, _cells(line)):
            found.append(finding)
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _of_row(header: list[str], row: list[str]) -> Finding | None:
    pairs = list(zip(header, row, strict=True))
    judged = [(name, cell) for name, cell in pairs if _WORD.search(cell)]
    if not judged:
        return None
    ratios = [
        f"{name} {cell}".strip()
        for name, cell in pairs
        if "ratio" in name.lower() or _RATIO.fullmatch(cell)
    ]
    goals = [cell for name, cell in pairs if "goal" in name.lower()]
    what = [cell for name, cell in pairs[: _first_figure(row)] if cell]
    return Finding(
        what=", ".join(what) or row[0],
        ratio="; ".join(r for r in ratios if not _WORD.search(r)),
        goal="; ".join(_bare_goal(g) for g in [*goals, *_goals_within(judged)] if g),
        verdicts=tuple(_verdict(name, cell) for name, cell in judged),
    )


def _of_text(line: str) -> Finding | None:
    word = _WORD.search(line)
    if not word or "goal" not in line:
        return None
    what, _, rest = line.partition(":")
    return Finding(
        what=what.strip(),
        ratio="; ".join(re.findall(r"ratio \d+\.\d+", rest)),
        goal="; ".join(re.findall(r"goal ([<>]= ?[\d.]+\d)", rest)),
        verdicts=(word.group(0),),
    )


def _first_figure(row: list[str]) -> int:
    """Returns the index of the first cell that is a measurement and not a name."""
    for place, cell in enumerate(row):
        if re.search(r"\d\.\d|\d\(|e-\d", cell) or _WORD.search(cell):
            return max(1, place)
    return len(row)


def _goals_within(judged: list[tuple[str, str]]) -> list[str]:
    """Returns the goals in cells such as "goal 10: met"."""
    before = (cell.partition(":")[0] for _, cell in judged if ":" in cell)
    return [text for text in before if _GOAL.fullmatch(text.strip())]


def _bare_goal(text: str) -> str:
    found = _GOAL.match(text.partition(":")[0].strip())
    return found.group(1) if found else text


def _verdict(name: str, cell: str) -> str:
    said = _WORD.search(cell).group(0)
    return f"{name}: {said}" if name not in ("", "result") else said
