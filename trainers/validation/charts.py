"""Small line charts of shares as SVG. Pure."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

_SIZE, _MARGIN = 260.0, 40.0
_COLOURS = ("#8c959f", "#0969da")


@dataclass(frozen=True, slots=True)
class Line:
    """A named line. Both coordinates are shares, from 0 to 1."""

    name: str
    points: Sequence[Point]


def chart(title: str, x_name: str, y_name: str, lines: Sequence[Line], *, has_diagonal: bool = False) -> str:
    """One chart; empty if no line has points. The last line has the strongest colour."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        return ""
    parts = [
        f'<rect x="{_MARGIN}" y="{_MARGIN}" width="{_SIZE}" height="{_SIZE}" fill="none" stroke="#8c959f"/>',
        _label(_MARGIN + _SIZE / 2, _MARGIN - 14, title, weight="bold"),
        _label(_MARGIN + _SIZE / 2, _MARGIN + _SIZE + 32, x_name),
        _label(12, _MARGIN + _SIZE / 2, y_name, turn=f' transform="rotate(-90 12 {_MARGIN + _SIZE / 2})"'),
    ]
    for share in (0.0, 0.5, 1.0):
        parts += [
            _label(_x(share), _MARGIN + _SIZE + 16, f"{share:g}"),
            _label(_MARGIN - 14, _y(share) + 4, f"{share:g}"),
        ]
    if has_diagonal:
        parts.append(f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#8c959f" stroke-dasharray="4 4"/>')
    for line, colour in zip(drawn, _COLOURS[-len(drawn) :], strict=True):
        path = "L".join(f"{_x(x):.1f} {_y(y):.1f}" for x, y in line.points if math.isfinite(x) and math.isfinite(y))
        name = html.escape(line.name)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"><title>{name}</title></path>')
    if len(drawn) > 1:
        for number, (line, colour) in enumerate(zip(drawn, _COLOURS[-len(drawn) :], strict=True)):
            parts.append(_label(_MARGIN + 44, _MARGIN + 18 + 16 * number, line.name, fill=colour))
    side = _SIZE + 2 * _MARGIN
    return f'<svg width="{side:g}" height="{side:g}" viewBox="0 0 {side:g} {side:g}" role="img">{"".join(parts)}</svg>'


def _x(share: float) -> float:
    return _MARGIN + share * _SIZE


def _y(share: float) -> float:
    return _MARGIN + (1.0 - share) * _SIZE


def _label(x: float, y: float, text: str, *, weight: str = "normal", turn: str = "", fill: str = "currentColor") -> str:
    style = f'font-size="12" font-weight="{weight}" fill="{fill}" text-anchor="middle"'
    return f'<text x="{x:g}" y="{y:g}" {style}{turn}>{html.escape(text)}</text>'
