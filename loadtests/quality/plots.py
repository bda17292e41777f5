"""Curves as SVG, without a plotting library."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 190, 28, 40
# Distinct for most colour-blind readers (Okabe and Ito 2008).
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
DASHES = ("", "6 3", "2 3")


def line_plot(title: str, below: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Curves of (x, y), x from 0, with y above 0, on a logarithmic y axis."""
    xs = [x for curve in curves.values() for x, _ in curve]
    ys = [y for curve in curves.values() for _, y in curve if y > 0]
    scale = _Scale(0.0, max(xs), math.log10(min(ys)), math.log10(max(ys)))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 18, title, weight="bold"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, below, anchor="middle"),
        *scale.grid(),
    ]
    for number, (name, curve) in enumerate(curves.items()):
        parts.extend(_curve(number, name, [scale.place(x, y) for x, y in curve if y > 0]))
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    def __init__(self, left: float, right: float, low: float, high: float) -> None:
        margin = max((high - low) * 0.05, 0.02)
        self._left, self._width = left, max(right - left, 1e-9)
        self._low, self._height = low - margin, high - low + 2 * margin

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self._left) / self._width
        up = (math.log10(y) - self._low) / self._height
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    def grid(self) -> list[str]:
        parts = []
        exponents = range(math.floor(self._low), math.ceil(self._low + self._height) + 1)
        values = [factor * 10.0**e for e in exponents for factor in (1, 2, 5)]
        for value in values:
            if self._low <= math.log10(value) <= self._low + self._height:
                _, y = self.place(self._left, value)
                parts.append(_line(LEFT, y, WIDTH - RIGHT, y))
                parts.append(_text(LEFT - 6, y + 4, f"{value:g}", anchor="end"))
        for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
            at = self._left + share * self._width
            x = LEFT + share * (WIDTH - LEFT - RIGHT)
            parts.append(_line(x, TOP, x, HEIGHT - BOTTOM))
            parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{at:g}", anchor="middle"))
        return parts


def _curve(number: int, name: str, places: Sequence[tuple[float, float]]) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    style = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" fill="none"'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    y = TOP + 12 + 18 * number
    x = WIDTH - RIGHT + 12
    return [
        f'<polyline points="{points}" {style}/>',
        f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" {style}/>',
        _text(x + 28, y, name),
    ]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
