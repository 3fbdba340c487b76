"""The figures. Colours are told apart by colour-blind readers, and so are the marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from labels import LABELS, WHOLE_LABELS
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

COLOURS = {"emo": "#0072B2", "standard": "#D55E00"}
MARKS = {"emo": "o", "standard": "s"}
POINTS = {"small-standard": ("D", "#CC79A7"), "dense": ("*", "#000000")}
_CHANCE = 0.25

Results = Mapping[str, Any]


def cost_figure(results: Results) -> Figure:
    """Draw loss and accuracy against the share of experts that is kept."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    increase, loss, accuracy = figure.subplots(1, 3)
    for name in LABELS:
        draw_model(name, results["models"][name], increase, loss, accuracy)
    draw_points(results["models"], loss, accuracy)
    accuracy.axhline(_CHANCE, color="#999999", linewidth=1, linestyle=":")
    accuracy.annotate(
        "chance", (1, _CHANCE), xytext=(0, 3), textcoords="offset points", ha="right"
    )
    increase.axhline(0, color="#999999", linewidth=1, linestyle=":")
    increase.set_ylabel("loss above the model's own, nats per token")
    loss.set_ylabel("loss, nats per token")
    accuracy.set_ylabel("right of four continuations")
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
    shares = sorted({1.0, *(s for s, _ in chosen(results["models"]["emo"]))})
    for axes in (increase, loss, accuracy):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(shares))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g} %"))
        axes.set_xlabel("experts kept")
    handles, names = loss.get_legend_handles_labels()
    columns = len(names) // 2
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False
    )
    return figure


def draw_model(name: str, found: Results, increase: Any, loss: Any, acc: Any) -> None:
    """Draw one model's lines: chosen for the domain, and at random (dashed)."""
    whole = found["summary"]
    looks = {"color": COLOURS[name], "marker": MARKS[name], "markersize": 5}
    lines = (
        (chosen(found), "chosen for the domain", "-", looks),
        (drawn(found), "at random", "--", {**looks, "fillstyle": "none"}),
    )
    for cells, how, style, look in lines:
        shares = [share for share, _ in cells] + [1.0]
        costs = [cell["loss_increase"]["mean"] for _, cell in cells] + [0.0]
        spreads = [cell["loss_increase"]["spread"] for _, cell in cells] + [0.0]
        right = [cell["accuracy"]["mean"] for _, cell in cells]
        right.append(whole["accuracy"]["mean"])
        changes = [cell["accuracy_change"]["spread"] for _, cell in cells] + [0.0]
        above = [whole["loss"]["mean"] + cost for cost in costs]
        look = {**look, "linestyle": style}
        loss.plot(shares, above, label=f"{LABELS[name]}, {how}", **look)
        increase.plot(shares, costs, **look)
        draw_band(increase, shares, costs, spreads, look)
        acc.plot(shares, right, **look)
        if style == "-":  # two bands of each colour would hide the lines
            draw_band(acc, shares, right, changes, look)


def draw_band(
    axes: Any,
    shares: Sequence[float],
    means: Sequence[float],
    spreads: Sequence[float],
    look: Results,
) -> None:
    """Draw a band around a line, as wide as domains are apart."""
    low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
    high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
    axes.fill_between(shares, low, high, color=look["color"], alpha=0.13, linewidth=0)


def draw_points(models: Results, loss: Any, accuracy: Any) -> None:
    """Draw models that were trained small, where a subset takes as much memory."""
    total = models["emo"]["model"]["num_experts"]
    for name, (mark, colour) in POINTS.items():
        if name not in models:
            continue
        # a dense model has as many parameters as an expert model uses for a token
        held = models[name]["model"]["num_experts"] or models["emo"]["model"]["top_k"]
        look = {"marker": mark, "color": colour, "linestyle": "", "markersize": 9}
        share, whole = held / total, models[name]["summary"]
        loss.plot([share], [whole["loss"]["mean"]], label=WHOLE_LABELS[name], **look)
        accuracy.plot([share], [whole["accuracy"]["mean"]], **look)


def chosen(found: Results) -> list[tuple[float, Results]]:
    """Return the subsets that many documents chose, by share, ascending."""
    cells = [cell for cell in found["summary"]["subsets"] if "accuracy" in cell]
    return by_share(found, cells)


def drawn(found: Results) -> list[tuple[float, Results]]:
    """Return the random subsets by share, ascending."""
    return by_share(found, found["summary"]["random"])


def by_share(found: Results, cells: Sequence[Results]) -> list[tuple[float, Results]]:
    """Return cells with the share of the experts they keep."""
    total = found["model"]["num_experts"]
    return sorted(
        ((cell["keep"] / total, cell) for cell in cells), key=lambda pair: pair[0]
    )


def matrix_figure(results: Results) -> Figure:
    """Draw what every domain's subset loses on every domain's text."""
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    grids = {name: increases(results["models"][name]) for name in LABELS}
    top = max(float(grid.max()) for grid in grids.values())
    for axes, (name, grid) in zip(panels, grids.items(), strict=True):
        domains = list(results["models"][name]["matrix"]["loss"])
        image = axes.imshow(grid, cmap="cividis", vmin=0, vmax=top)
        for row, column in np.ndindex(grid.shape):
            value = grid[row, column]
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=6.5,
                fontweight="bold" if row == column else "normal",
                color="black" if value > top / 2 else "white",
            )
        name_axes(axes, domains)
        axes.set_title(LABELS[name])
        axes.set_xlabel("measured on")
    panels[0].set_ylabel("experts chosen for")
    keep = results["models"]["emo"]["matrix"]["keep"]
    total = results["models"]["emo"]["model"]["num_experts"]
    figure.colorbar(
        image,
        ax=panels,
        label=f"loss above the whole model's, nats per token ({keep} of {total} kept)",
        shrink=0.85,
    )
    return figure


def increases(found: Results) -> Any:
    """Return the matrix of losses above the whole model's, subsets by domains."""
    whole = found["whole"]["loss"]
    rows = found["matrix"]["loss"].values()
    return np.array([[row[domain] - whole[domain] for domain in whole] for row in rows])


def name_axes(axes: Any, domains: Sequence[str]) -> None:
    """Write the names of domains along both sides."""
    names = [domain.replace("_", " ") for domain in domains]
    axes.set_xticks(range(len(names)), names, rotation=55, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def coverage_figure(routing: Results) -> Figure:
    """Draw, by layer, which experts each domain picks more than the others do."""
    layers = len(routing["models"]["emo"]["coverage"])
    figure = Figure(figsize=(11, 1.1 + 2.3 * layers), layout="constrained")
    panels = figure.subplots(layers, len(LABELS), sharey=True, squeeze=False)
    for column, name in enumerate(LABELS):
        for row, found in enumerate(routing["models"][name]["coverage"]):
            axes = panels[row, column]
            image = axes.imshow(
                preferences(np.array(found["picks"])),
                cmap="PuOr_r",
                vmin=-3,
                vmax=3,
                aspect="auto",
                interpolation="nearest",
            )
            names = [domain.replace("_", " ") for domain in routing["domains"]]
            axes.set_yticks(range(len(names)), names, fontsize=7)
            axes.set_xticks([])
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(f"{LABELS[name]}, layer {row}", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("routed experts, those of one domain side by side")
    bar = figure.colorbar(image, ax=panels, shrink=0.6, ticks=[-3, -2, -1, 0, 1, 2, 3])
    bar.ax.set_yticklabels(["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    bar.set_label("picked so many times as often as in the mean domain")
    return figure


def preferences(picks: Any) -> Any:
    """Return log2 of each domain's picks by the mean over domains, experts sorted.

    An expert stands with the domain that prefers it most. A little is added to both
    sides of the ratio, so that experts hardly anybody picks say nothing.
    """
    little = 0.05 * picks.mean()
    ratio = np.log2((picks + little) / (picks.mean(axis=0) + little))
    owners, strength = ratio.argmax(axis=0), ratio.max(axis=0)
    return ratio[:, np.lexsort((-strength, owners))]
