"""Plots as SVG in the page, with a text in their place for people who do not see them. Pure.

No `style=`: the page's policy allows none. Colours come from the style sheet, by classes.
"""

from collections.abc import Iterator, Sequence

from attrs import frozen
from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _TOP, _FOOT = 360, 112, 14, 16
_GAP = 1.0
_FLOOR = _HEIGHT - _FOOT


@frozen
class BarSeries:
    """Numbers for one class of the style sheet, one for each column."""

    name: str
    """The class, of which a legend says what it is."""
    values: Sequence[float]


def bars(series: Sequence[BarSeries], *, told: str, notes: Sequence[str], left: str, right: str, most: str) -> Markup:
    """Columns, with the series one above the other.

    Args:
        series: what is drawn, from below; all of one length.
        told: the text in place of the plot.
        notes: what a pointer on a column shows, for each.
        left: what stands below the first column.
        right: what stands below the last.
        most: what the highest column is, in words.
    """
    heights = [sum(column) for column in zip(*(it.values for it in series), strict=True)]
    scale = (_FLOOR - _TOP) / (max(heights, default=0) or 1)
    step = _WIDTH / max(1, len(heights))
    top = f'<text class="axis" x="0" y="10">{escape(most)}</text>' if any(heights) else ""
    parts = [top, f'<line class="rule" x1="0" y1="{_FLOOR}" x2="{_WIDTH}" y2="{_FLOOR}"/>']
    for index, height in enumerate(heights):
        if height:
            column = "".join(_column(series, index, index * step + _GAP / 2, step - _GAP, scale))
            parts.append(f"<g><title>{escape(notes[index])}</title>{column}</g>")
    parts.append(f'<text class="axis" x="0" y="{_HEIGHT - 3}">{escape(left)}</text>')
    parts.append(f'<text class="axis end" x="{_WIDTH}" y="{_HEIGHT - 3}">{escape(right)}</text>')
    head = f'<svg class="plot" role="img" aria-label="{escape(told)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704 - each text in it is escaped


def _column(series: Sequence[BarSeries], index: int, x: float, width: float, scale: float) -> Iterator[str]:
    floor = float(_FLOOR)
    for it in series:
        height = it.values[index] * scale
        if height:
            height = max(height, 1.5)  # one failure among thousands of refreshes is still seen
            floor -= height
            yield f'<rect class="{it.name}" x="{x:.2f}" y="{floor:.2f}" width="{width:.2f}" height="{height:.2f}"/>'
