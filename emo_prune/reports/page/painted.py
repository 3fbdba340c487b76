"""An SVG of this package as PNG, painted by matplotlib (the extra `plots`)."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from emo_prune.errors import Parameter, ReportError
from emo_prune.version import __version__

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_PER_INCH, _SCALE = 96.0, 2.0  # units of an SVG; dots of each
_POINT = 72 / _PER_INCH
_CELL = re.compile(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z")
_SHIFT = re.compile(r"translate\(([\d.]+) ([\d.]+)\)")
_ANCHORS = {"start": "left", "middle": "center", "end": "right"}

Look = Mapping[str, str]


def refuse_without_painter() -> None:
    """Raise `ReportError` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ReportError(
            "PNG needs matplotlib, which is not installed",
            where=Parameter("png"),
            hint="pip install 'emo-prune[plots]', or take the SVG files alone",
        ) from None


def painted(svg: str) -> bytes:
    """Return what `standalone` wrote as PNG, two dots for each of its units.

    It knows the shapes that pictures of this package are made of, and no others.
    """
    from matplotlib.figure import Figure

    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    figure = Figure(figsize=(width / _PER_INCH, height / _PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for n, artist in enumerate(_artists(root, axes, 0.0, 0.0)):
        artist.set_zorder(n)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A letter that the font does not have becomes a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(
            file,
            format="png",
            dpi=_PER_INCH * _SCALE,
            metadata={"Software": f"emo-prune {__version__}"},
        )
    return file.getvalue()


def _artists(
    parent: ElementTree.Element, axes: Axes, right: float, down: float
) -> Iterator[Artist]:
    """Yield everything below an element, in the order in which it is drawn."""
    for element in parent:
        name = element.tag.rpartition("}")[2]
        if name == "g":
            shift = _SHIFT.fullmatch(element.attrib.get("transform", ""))
            x, y = (float(shift[1]), float(shift[2])) if shift else (0.0, 0.0)
            yield from _artists(element, axes, right + x, down + y)
        elif name in _SHAPES:
            yield from _SHAPES[name](element, axes, right, down)


def _line(
    element: ElementTree.Element, axes: Axes, right: float, down: float
) -> Iterator[Artist]:
    at = element.attrib
    xs = [float(at[key]) + right for key in ("x1", "x2")]
    ys = [float(at[key]) + down for key in ("y1", "y2")]
    yield from axes.plot(xs, ys, **_stroke(at))


def _polyline(
    element: ElementTree.Element, axes: Axes, right: float, down: float
) -> Iterator[Artist]:
    pairs = [pair.split(",") for pair in element.attrib["points"].split()]
    xs = [float(x) + right for x, _ in pairs]
    ys = [float(y) + down for _, y in pairs]
    yield from axes.plot(xs, ys, **_stroke(element.attrib))


def _circle(
    element: ElementTree.Element, axes: Axes, right: float, down: float
) -> Iterator[Artist]:
    from matplotlib.patches import Circle

    at = element.attrib
    centre = (float(at["cx"]) + right, float(at["cy"]) + down)
    yield axes.add_patch(Circle(centre, float(at["r"]), **_filled(at)))


def _rectangles(
    element: ElementTree.Element, axes: Axes, right: float, down: float
) -> Iterator[Artist]:
    """Yield a rectangle, or the cells of a path."""
    from matplotlib.patches import Rectangle

    at = element.attrib
    own = (at.get("x", "0"), at.get("y", "0"), at.get("width"), at.get("height"))
    for one in _CELL.findall(at["d"]) if "d" in at else [own]:
        x, y, width, height = map(float, one)
        corner = (x + right, y + down)
        yield axes.add_patch(Rectangle(corner, width, height, **_filled(at)))


def _text(
    element: ElementTree.Element, axes: Axes, right: float, down: float
) -> Iterator[Artist]:
    from matplotlib.patheffects import Normal, Stroke

    at = element.attrib
    found = axes.text(
        float(at["x"]) + right,
        float(at["y"]) + down,
        " ".join((element.text or "").split()),
        color=at["fill"],
        fontsize=float(at["font-size"].removesuffix("px")) * _POINT,
        fontweight=int(at.get("font-weight", "400")),
        ha=_ANCHORS[at["text-anchor"]],
        va="baseline",
        parse_math=False,
    )
    if "stroke" in at:
        width = float(at["stroke-width"]) * _POINT
        found.set_path_effects([Stroke(linewidth=width, foreground=at["stroke"]),
                                Normal()])  # fmt: skip
    yield found


def _stroke(at: Look) -> dict[str, Any]:
    width = float(at["stroke-width"])
    dashes = [float(part) / width for part in at.get("stroke-dasharray", "").split()]
    cap = at.get("stroke-linecap", "butt")
    return {
        "color": at["stroke"],
        "linewidth": width * _POINT,
        "linestyle": (0, dashes) if dashes else "-",
        "alpha": float(at.get("opacity", "1")),
        "solid_capstyle": cap,
        "solid_joinstyle": "round",
    }


def _filled(at: Look) -> dict[str, Any]:
    return {
        "facecolor": at["fill"],
        "edgecolor": at.get("stroke", "none"),
        "linewidth": float(at.get("stroke-width", "0")) * _POINT,
    }


_SHAPES: Mapping[
    str, Callable[[ElementTree.Element, Axes, float, float], Iterator[Artist]]
] = {
    "line": _line,
    "polyline": _polyline,
    "circle": _circle,
    "rect": _rectangles,
    "path": _rectangles,
    "text": _text,
}
