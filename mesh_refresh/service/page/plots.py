"""Plots as SVG in the page, with a text in their place for people who do not see them. Pure.

No `style=`: the page's policy allows none. Colours come from the style sheet, by classes.
"""

from collections.abc import Sequence

from attrs import frozen
from markupsafe import Markup

_WIDTH, _HEIGHT, _TOP, _FOOT = 360, 112, 14, 16
_GAP = 1.0
_FLOOR = _HEIGHT - _FOOT


@frozen
class Series:
    """Numbers for one class of the style sheet, one for each column."""

    name: str
    """The class, of which a legend says what it is."""
    values: Sequence[float]


def bars(series: Sequence[Series], *, told: str, notes: Sequence[str], left: str, right: str, most: str) -> Markup:
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
    parts = [
        Markup('<text class="axis" x="0" y="10">{}</text>').format(most) if any(heights) else Markup(),
        Markup('<line class="rule" x1="0" y1="{0}" x2="{1}" y2="{0}"/>').format(_FLOOR, _WIDTH),
    ]
    for index, height in enumerate(heights):
        if height:
            columns = _column(series, index, index * step + _GAP / 2, step - _GAP, scale)
            parts.append(Markup("<g><title>{}</title>{}</g>").format(notes[index], Markup("").join(columns)))
    parts.append(Markup('<text class="axis" x="0" y="{}">{}</text>').format(_HEIGHT - 3, left))
    parts.append(Markup('<text class="axis end" x="{}" y="{}">{}</text>').format(_WIDTH, _HEIGHT - 3, right))
    return Markup('<svg class="plot" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        told, _WIDTH, _HEIGHT, Markup("").join(parts)
    )


def _column(series: Sequence[Series], index: int, x: float, width: float, scale: float) -> list[Markup]:
    parts, floor = [], float(_FLOOR)
    for it in series:
        height = it.values[index] * scale
        if height:
            height = max(height, 1.5)  # one failure among thousands of refreshes is still seen
            floor -= height
            parts.append(
                Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
                    it.name, x, floor, width, height
                )
            )
    return parts
