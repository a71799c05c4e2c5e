"""Charts as inline SVG, coloured by the page's style and described in words."""

import dataclasses
import html

import numpy as np

# For pages with curves or whiskers; bars have the page's own colour.
STYLE = """
:root { --c0: #2a7ab8; --c1: #c2571a; --c2: #2e8540; --c3: #8a4fbf; }
@media (prefers-color-scheme: dark) {
  :root { --c0: #5aa9e6; --c1: #f39c5f; --c2: #63c178; --c3: #c08cf0; }
}
svg .rule { stroke: var(--line); fill: none; }
svg .curve { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
svg .c0 { stroke: var(--c0); } svg circle.c0 { fill: var(--c0); }
svg .c1 { stroke: var(--c1); stroke-dasharray: 7 3; }
svg .c2 { stroke: var(--c2); stroke-dasharray: 2 3; }
svg .c3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a chart.

    Attributes:
      name: what the legend says.
      x: [N] float in 0..1, NaN where there is no point.
      y: [N] likewise.
      dots: mark the points themselves.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    dots: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whisker:
    """One value with its interval, all in 0..1; None where there is none."""

    name: str
    value: float | None
    low: float | None
    high: float | None


def bars(
    counts: np.ndarray,
    names: list[str],
    axis: str,
    *,
    every: int = 1,
    width: int = 720,
) -> str:
    """Returns a bar chart.

    The counts stand above their bars, or above all of them the tallest's share
    where only every n-th bar has a name.
    """
    height, bottom, top = 200, 36, 16
    step = width / len(counts)
    tallest = max(1, counts.max())
    share = counts.max() / max(1, counts.sum())
    drawn = []
    for k, count in enumerate(counts):
        tall = count / tallest * (height - bottom - top)
        left, base = k * step, height - bottom
        drawn.append(
            f'<rect x="{left + 1:.1f}" y="{base - tall:.1f}" '
            f'width="{step - 2:.1f}" height="{tall:.1f}"/>'
        )
        middle = left + step / 2
        if k % every == 0:
            drawn.append(_text(middle, base + 14, names[k]))
        if every == 1:
            drawn.append(_text(middle, base - tall - 4, f"{count:,}"))
    if every > 1:
        drawn.append(_text(width / 2, top - 4, f"tallest bar: {share:.1%} of all"))
    drawn.append(_text(width / 2, height - 4, axis))
    return _svg(width, height, axis, drawn)


def curves(
    lines: list[Curve], x_axis: str, y_axis: str, *, diagonal: bool = False
) -> str:
    """Returns a chart of curves in the unit square.

    Args:
      lines: at most four; the style gives each its colour and dashes.
      x_axis: what runs to the right.
      y_axis: what runs upwards.
      diagonal: draw the line of equal x and y.
    """
    size, left, top = 300, 40, 12
    height = size + 44 + (4 + 16 * len(lines) if len(lines) > 1 else 0)
    drawn = _grid(left, top, size)

    def place(x, y):
        return f"{left + x * size:.1f} {top + (1 - y) * size:.1f}"

    if diagonal:
        drawn.append(f'<path class="rule" d="M {place(0, 0)} L {place(1, 1)}"/>')
    for k, line in enumerate(lines):
        points = [
            place(x, y)
            for x, y in zip(line.x, line.y, strict=True)
            if np.isfinite(x + y)
        ]
        if points:
            drawn.append(f'<path class="curve c{k}" d="M {" L ".join(points)}"/>')
        for point in points if line.dots else []:
            x, y = point.split()
            drawn.append(f'<circle class="c{k}" cx="{x}" cy="{y}" r="3.5"/>')
        if len(lines) > 1:
            y = top + size + 48 + 16 * k
            drawn.append(f'<path class="curve c{k}" d="M {left} {y - 4} h 28"/>')
            drawn.append(_text(left + 36, y, line.name, anchor="start"))
    drawn.append(_text(left + size / 2, top + size + 28, x_axis))
    drawn.append(
        f'<text transform="translate(10 {top + size / 2}) rotate(-90)" '
        f'text-anchor="middle">{html.escape(y_axis)}</text>'
    )
    said = f"{y_axis} against {x_axis}: {', '.join(line.name for line in lines)}"
    return _svg(left + size + 12, height, said, drawn)


def whiskers(rows: list[Whisker], axis: str) -> str:
    """Returns values with their intervals, one below the other."""
    left, size, step, top = 112, 230, 26, 8
    base = top + step * len(rows)
    drawn = []
    for tick in np.linspace(0, 1, 6):
        x = left + tick * size
        drawn.append(f'<path class="rule" d="M {x:.1f} {top} V {base}"/>')
        drawn.append(_text(x, base + 14, f"{tick:.1f}"))
    for k, row in enumerate(rows):
        y = top + step * (k + 0.5)
        name = row.name if len(row.name) <= 18 else f"{row.name[:17]}…"
        drawn.append(_text(left - 8, y + 4, name, anchor="end"))
        if row.low is not None and row.high is not None:
            ends = f"M {left + row.low * size:.1f} {y} H {left + row.high * size:.1f}"
            drawn.append(f'<path class="curve c0" d="{ends}"/>')
        if row.value is not None:
            x = left + row.value * size
            drawn.append(f'<circle class="c0" cx="{x:.1f}" cy="{y}" r="4.5"/>')
    drawn.append(_text(left + size / 2, base + 30, axis))
    said = ", ".join(f"{r.name} {r.value:.2f}" for r in rows if r.value is not None)
    return _svg(left + size + 18, base + 36, f"{axis}: {said}", drawn)


def _grid(left: int, top: int, size: int) -> list[str]:
    drawn = []
    for tick in np.linspace(0, 1, 6):
        x, y = left + tick * size, top + (1 - tick) * size
        drawn.append(f'<path class="rule" d="M {x:.1f} {top} v {size}"/>')
        drawn.append(f'<path class="rule" d="M {left} {y:.1f} h {size}"/>')
        drawn.append(_text(x, top + size + 14, f"{tick:.1f}"))
        drawn.append(_text(left - 5, y + 4, f"{tick:.1f}", anchor="end"))
    return drawn


def _svg(width: float, height: float, said: str, drawn: list[str]) -> str:
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" width="{width}" '
        f'role="img" aria-label="{html.escape(said)}">{"".join(drawn)}</svg></figure>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )
