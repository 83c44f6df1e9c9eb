"""Draws the panels of dashboards/cofferdam.json as Grafana would, from a running Prometheus: the picture of the README.

usage: render.py DASHBOARD PROMETHEUS_URL SECONDS OUTPUT.png
"""

import json
import math
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.patches import FancyBboxPatch
from PIL import Image

PIXELS_PER_COLUMN, PIXELS_PER_ROW, GAP, DPI = 66, 36, 8, 100
BACKGROUND, PANEL, TEXT, FAINT, GRID = "#111217", "#181b1f", "#d8d9da", "#8e9297", "#2c3036"
# Grafana's classic palette, for series without a colour of their own.
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#fade2a"]
NAMED = {"green": "#56a64b", "orange": "#ff780a", "red": "#e02f44", "blue": "#3274d9", "yellow": "#f2cc0c", "purple": "#a352cc"}
# A scrape comes every quarter of a second here, so a rate over a few seconds is what $__rate_interval stands for.
RATE_INTERVAL = "5s"


class Prometheus:
    """The HTTP API, over one span of time."""

    def __init__(self, url, seconds):
        self.url, self.seconds, self.end = url, seconds, time.time()
        # A proxy of the environment has no business on loopback.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path, expression, **parameters):
        replacements = {"$__rate_interval": RATE_INTERVAL, "$__range": f"{self.seconds}s", "$job": ".+", "$tier": ".+"}
        for variable, value in replacements.items():
            expression = expression.replace(variable, value)
        query = urllib.parse.urlencode({"query": expression, **parameters})
        with self.opener.open(f"{self.url}/api/v1/{path}?{query}") as answer:
            return json.load(answer)["data"]["result"]

    def now(self, expression):
        return self.ask("query", expression, time=self.end)

    def over_time(self, expression):
        return self.ask("query_range", expression, start=self.end - self.seconds, end=self.end, step=0.5)


def colour(name):
    return NAMED.get(name, name)


def scaled(value, steps):
    for size, suffix in steps:
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def readable(value, unit):
    if unit == "percentunit":
        return f"{100 * value:.1f} %".replace(".0 %", " %")
    if unit == "s":
        if value == 0:
            return "0 s"
        return scaled(value, [(60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")])
    if unit == "bytes":
        return scaled(value, [(2**20, " MiB"), (2**10, " KiB")])
    number = scaled(value, [(1e6, " M"), (1e4, " K")]) if abs(value) >= 1e4 else f"{round(value, 2):g}"
    return number + {"ops": " ops/s", "reqps": " req/s"}.get(unit, "")


def legend(template, labels):
    for label, value in labels.items():
        template = template.replace("{{" + label + "}}", value)
    return template


def threshold(value, steps):
    chosen = steps[0]["color"]
    for step in steps[1:]:
        if value >= step["value"]:
            chosen = step["color"]
    return colour(chosen)


def no_data(axes, text="No data"):
    axes.axis("off")
    axes.text(0.5, 0.5, text, color=FAINT, ha="center", va="center", fontsize=11, transform=axes.transAxes)


def stat(axes, panel, prometheus):
    defaults = panel["fieldConfig"]["defaults"]
    result = prometheus.now(panel["targets"][0]["expr"])
    axes.axis("off")
    steps = defaults["thresholds"]["steps"]
    value = float(result[0]["value"][1]) if result else None
    text = readable(value, defaults["unit"]) if result else defaults.get("noValue", "No data")
    if value is not None and defaults.get("decimals") == 0:
        text = readable(round(value), defaults["unit"])
    background = threshold(value, steps) if result else colour(steps[0]["color"])
    axes.patch.set_visible(False)
    axes.add_patch(FancyBboxPatch((0, 0), 1, 1, boxstyle="square,pad=0", transform=axes.transAxes, color=background, clip_on=False))
    axes.text(0.5, 0.5, text, color="white", ha="center", va="center", fontsize=25, fontweight="bold", transform=axes.transAxes)


def table(axes, panel, prometheus):
    transformation = panel["transformations"][0]["options"]
    columns = sorted(transformation["indexByName"], key=transformation["indexByName"].get)
    rows = [[sample["metric"].get(column, "") for column in columns] for sample in prometheus.now(panel["targets"][0]["expr"])]
    if not rows:
        return no_data(axes, panel["fieldConfig"]["defaults"].get("noValue", "No data"))
    axes.axis("off")
    titles = [transformation["renameByName"][column] for column in columns]
    for line, cells in enumerate([titles, *sorted(rows)][:9]):
        for column, cell in enumerate(cells):
            weight, shade = ("bold", "#6e9fff") if line == 0 else ("normal", TEXT)
            axes.text(column * 0.37, 0.95 - line * 0.12, cell, color=shade, fontweight=weight, fontsize=10, va="top", transform=axes.transAxes)


def series_of(panel, prometheus):
    fixed = {
        override["matcher"]["options"]: colour(override["properties"][0]["value"]["fixedColor"])
        for override in panel["fieldConfig"]["overrides"]
    }
    found = []
    for target in panel["targets"]:
        for series in prometheus.over_time(target["expr"]):
            points = [(float(at) - prometheus.end, float(value)) for at, value in series["values"]]
            found.append((legend(target["legendFormat"], series["metric"]), points))
    order = list(fixed)
    found.sort(key=lambda named: (order.index(named[0]) if named[0] in order else len(order), named[0]))
    free = iter(PALETTE * 4)
    return [(name, points, fixed.get(name) or next(free)) for name, points in found]


def timeseries(axes, panel, prometheus):
    defaults = panel["fieldConfig"]["defaults"]
    found = series_of(panel, prometheus)
    if not any(value == value for _, points, _ in found for _, value in points):
        return no_data(axes)
    if defaults["custom"]["stacking"]["mode"] == "normal":
        times = sorted({at for _, points, _ in found for at, _ in points})
        heights = [[dict(points).get(at, 0) for at in times] for _, points, _ in found]
        axes.stackplot(times, heights, colors=[shade for *_, shade in found], alpha=0.75, step="post", linewidth=0)
        for name, _, shade in found:
            axes.plot([], [], color=shade, linewidth=3, label=name)
    else:
        for name, points, shade in found:
            times, values = zip(*points)
            axes.plot(times, values, color=shade, linewidth=1.3, label=name)
            axes.fill_between(times, values, color=shade, alpha=0.08, linewidth=0)
    low, high = axes.get_ylim()
    whole = defaults["unit"] == "short" and defaults.get("decimals") == 0
    axes.set_ylim(0, defaults.get("max", max(high, 1 if whole else 0) or 1) * (1.05 if "max" in defaults else 1))
    axes.set_xlim(-prometheus.seconds, 0)
    axes.yaxis.set_major_locator(pyplot.MaxNLocator(4, integer=whole))
    if defaults["unit"] == "bytes":
        axes.yaxis.set_major_locator(pyplot.MultipleLocator(2 ** math.ceil(math.log2(high / 4))))
    axes.yaxis.set_major_formatter(lambda value, _: readable(value, defaults["unit"]))
    axes.xaxis.set_major_locator(pyplot.MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s" if value else "now")
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(colors=FAINT, labelsize=8.5, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    longest = max(len(name) for name, *_ in found)
    columns = max(1, int(panel["gridPos"]["w"] * PIXELS_PER_COLUMN // (longest * 7.5 + 34)))
    axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.11), ncols=columns, frameon=False, fontsize=8.5, labelcolor=TEXT,
                handlelength=1.1, columnspacing=1.0, handletextpad=0.4, borderaxespad=0.2)


DRAWERS = {"stat": stat, "table": table, "timeseries": timeseries}


def draw(dashboard, prometheus, output):
    panels = dashboard["panels"]
    width = 24 * PIXELS_PER_COLUMN + GAP
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * PIXELS_PER_ROW + GAP
    figure = pyplot.figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] * PIXELS_PER_COLUMN + GAP, place["y"] * PIXELS_PER_ROW + GAP
        wide, high = place["w"] * PIXELS_PER_COLUMN - GAP, place["h"] * PIXELS_PER_ROW - GAP

        def area(x, y, w, h):
            return [x / width, 1 - (y + h) / height, w / width, h / height]

        if panel["type"] == "row":
            figure.text((left + 2) / width, 1 - (top + high / 2) / height, "⌄  " + panel["title"], color=TEXT, fontsize=12, va="center")
            continue
        frame = figure.add_axes(area(left, top, wide, high), facecolor=PANEL, xticks=[], yticks=[])
        for spine in frame.spines.values():
            spine.set_color(GRID)
        figure.text((left + 9) / width, 1 - (top + 15) / height, panel["title"], color=TEXT, fontsize=10.5, va="center")
        inner = {"timeseries": area(left + 62, top + 34, wide - 78, high - 96), "stat": area(left + 1, top + 30, wide - 2, high - 31)}
        axes = figure.add_axes(inner.get(panel["type"], area(left + 10, top + 34, wide - 20, high - 40)), facecolor="none")
        DRAWERS[panel["type"]](axes, panel, prometheus)
    figure.savefig(output, facecolor=BACKGROUND)
    # A palette is enough for lines on a dark ground and makes a third of the size; the means keep the large areas exact.
    picture = Image.open(output).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    picture.save(output, optimize=True)


if __name__ == "__main__":
    _, dashboard_path, url, seconds, output = sys.argv
    with open(dashboard_path, encoding="utf-8") as file:
        draw(json.load(file), Prometheus(url, int(seconds)), output)
