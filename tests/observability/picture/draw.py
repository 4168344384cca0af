"""draw.py FILE PICTURE: the dashboard as a picture, from what `record.py` left in FILE.

Grafana has no part in it: the panels, where they are and what they are called come from
`dashboard.json`, the figures from Prometheus' answers to its queries.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (it looks at the backend)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

Json = dict[str, Any]

DASHBOARD = Path(__file__).resolve().parents[3] / "helm" / "mintage" / "files" / "dashboard.json"
COLUMNS = 24
UNIT = 0.62, 0.36
"""Inches of a grid's cell."""
DOTS_PER_INCH = 92
PALETTE = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300"]
NAMED = {
    "green": "#56a64b", "yellow": "#f2cc0c", "orange": "#ff780a", "red": "#e02f44", "blue": "#3274d9",
    "purple": "#a352cc", "dark-red": "#8f1021", "semi-dark-red": "#c4162a",
}
GROUND, PAPER, INK, FAINT = "#f1f3f5", "#ffffff", "#24292e", "#8a9199"
TIMES = ((172_800, 86_400, " days"), (7200, 3600, " h"), (600, 60, " min"), (0.5, 1, " s"), (0, 0.001, " ms"))
"""From how many seconds on a time is told so, and of how many one is made."""
UNITS = {"reqps": "/s", "percentunit": "%", "bytes": " MiB", "short": ""}


class Drawing:
    def __init__(self, run: Json) -> None:
        self._start, self._end, self._shown = run["start"], run["end"], run["shown"]
        self._names: dict[str, str] = run["names"]
        panels = json.loads(DASHBOARD.read_text())["panels"]
        self._height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        size = COLUMNS * UNIT[0], self._height * UNIT[1]
        self.figure: Figure = plt.figure(figsize=size, dpi=DOTS_PER_INCH, facecolor=GROUND)
        for panel in panels:
            if panel["type"] == "row":
                self._heading(panel)
            else:
                self._panel(panel, self._shown[str(panel["id"])])

    def _heading(self, panel: Json) -> None:
        x, y, _, h = self._box(panel)
        self.figure.text(x + 0.004, y + h * 0.3, panel["title"], fontsize=13, fontweight="bold", color=INK)

    def _panel(self, panel: Json, answers: list[list[Json]]) -> None:
        x, y, w, h = self._box(panel)
        gap_x, gap_y = 0.0025, 0.0008
        box = (x + gap_x, y + gap_y, w - 2 * gap_x, h - 2 * gap_y)
        self.figure.add_artist(
            matplotlib.patches.Rectangle(
                box[:2], box[2], box[3], facecolor=PAPER, edgecolor="#d8dde2", linewidth=0.8,
                zorder=-1)
        )
        line = 1 / (self._height * UNIT[1] * 72)  # a point of the figure's height
        self.figure.text(x + 0.008, y + h - gap_y - 13 * line, panel["title"], fontsize=9.5, fontweight="bold", color=INK)
        series = list(self._series(panel, answers))
        match panel["type"]:
            case "stat":
                self._stat(panel, box, series)
            case "table":
                self._table(panel, box, answers[0])
            case "state-timeline":
                self._states(panel, self._axes(box, line, top=26, bottom=22, left=0.14 if box[2] > 0.5 else 0.09), series)
            case _:
                rows = self._legend(box, line, panel, series)
                self._lines(panel, self._axes(box, line, top=24, bottom=20 + 11 * rows, left=0.036), series)

    def _box(self, panel: Json) -> tuple[float, float, float, float]:
        grid = panel["gridPos"]
        return (
            grid["x"] / COLUMNS,
            1 - (grid["y"] + grid["h"]) / self._height,
            grid["w"] / COLUMNS,
            grid["h"] / self._height,
        )

    def _axes(self, box: tuple[float, ...], line: float, *, top: float, bottom: float, left: float) -> Axes:
        x, y, w, h = box
        return self.figure.add_axes(
            (x + left, y + bottom * line, w - left - 0.01, h - (top + bottom) * line), facecolor=PAPER
        )

    def _series(self, panel: Json, answers: list[list[Json]]) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
        """Name, colour and points of each."""
        fixed = {
            one["matcher"]["options"]: one["properties"][0]["value"]["fixedColor"]
            for one in panel["fieldConfig"]["overrides"]
        }
        count = 0
        for target, answer in zip(panel["targets"], answers):
            for series in sorted(answer, key=lambda one: sorted(self._named(one["metric"]).items())):
                labels = self._named(series["metric"])
                template = "" if target["legendFormat"] == "__auto" else target["legendFormat"]
                name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template).strip()
                points = series["values"] if "values" in series else [series["value"]]
                color = NAMED.get(fixed.get(name, ""), PALETTE[count % len(PALETTE)])
                count += 1
                yield name, color, [(float(at) - self._start, float(value)) for at, value in points]

    def _named(self, labels: dict[str, str]) -> dict[str, str]:
        """What has a free port in it, by the name that it has elsewhere."""
        return {label: self._names.get(value, value) for label, value in labels.items()}

    def _stat(self, panel: Json, box: tuple[float, ...], series: list[tuple[str, str, list[tuple[float, float]]]]) -> None:
        x, y, w, h = box
        values = [points[-1][1] for _, _, points in series if points and not math.isnan(points[-1][1])]
        text, color = "no data", FAINT
        if values:
            value = values[0]
            text = _number(value, panel)
            for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
                if step["value"] is None or value >= step["value"]:
                    color = NAMED[step["color"]]
            named = _names(panel).get(f"{value:g}")
            if named:
                text, color = named[0], NAMED[named[1]]
        inner = (x + 0.006, y + h * 0.08, w - 0.012, h * 0.62)
        self.figure.add_artist(matplotlib.patches.Rectangle(inner[:2], inner[2], inner[3], facecolor=color))
        self.figure.text(
            x + w / 2, y + h * 0.39, text, fontsize=21, fontweight="bold", color="white", ha="center", va="center"
        )

    def _lines(self, panel: Json, axes: Axes, series: list[tuple[str, str, list[tuple[float, float]]]]) -> None:
        self._time(axes)
        unit = panel["fieldConfig"]["defaults"]["unit"]
        scale = {"percentunit": 100, "bytes": 1 / 1024**2}.get(unit, 1)
        stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
        below: dict[float, float] = {}
        for _, color, points in series:
            points = [(at, value * scale) for at, value in points if not math.isnan(value)]
            if stacked:
                base = [below.get(at, 0.0) for at, _ in points]
                top = [value + under for (_, value), under in zip(points, base)]
                times = [at for at, _ in points]
                axes.fill_between(times, base, top, color=color, alpha=0.35, linewidth=0)
                axes.plot(times, top, color=color, linewidth=1)
                below |= dict(zip(times, top))
            else:
                axes.plot([at for at, _ in points], [value for _, value in points], color=color, linewidth=1.3)
        highest = axes.get_ylim()[1]
        one, name = next((one, name) for least, one, name in TIMES if highest >= least) if unit == "s" else (1, UNITS[unit])
        axes.set_ylim(0, 1.08 * max((y for line in axes.lines for y in line.get_ydata()), default=0) or 1)
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value / one:.3g}{name}")
        if not series:
            axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=9)
            axes.set_yticks([])

    def _states(self, panel: Json, axes: Axes, series: list[tuple[str, str, list[tuple[float, float]]]]) -> None:
        self._time(axes)
        names, step = _names(panel), 3.0
        for place, (_, _, points) in enumerate(series):
            for at, value in points:
                _, color = names.get(f"{value:g}", ("", "blue"))
                axes.barh(-place, step, left=at - step / 2, height=0.72, color=NAMED[color], linewidth=0)
        axes.set_yticks([-place for place in range(len(series))], [name for name, _, _ in series], fontsize=7.5)
        axes.set_ylim(-max(len(series), 1) + 0.4, 0.6)
        axes.grid(visible=False)
        if not series:
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=9)

    def _time(self, axes: Axes) -> None:
        length = self._end - self._start
        axes.set_xlim(0, length)
        axes.set_xticks(range(0, int(length) + 1, 60), [str(at // 60) for at in range(0, int(length) + 1, 60)])
        axes.tick_params(labelsize=7.5, colors="#59626b", length=2, pad=2)
        axes.grid(visible=True, color="#e8ebee", linewidth=0.7)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)

    def _legend(
        self, box: tuple[float, ...], line: float, panel: Json, series: list[tuple[str, str, list[tuple[float, float]]]]
    ) -> int:
        """Writes it below, and says how many rows it took."""
        x, y, w, _ = box
        room = int(w * COLUMNS * UNIT[0] * 72 / 4.6)
        rows: list[list[tuple[str, str]]] = [[]]
        for name, color, _ in series:
            name = name or panel["title"]
            if rows[-1] and sum(len(other) + 4 for other, _ in rows[-1]) + len(name) > room:
                rows.append([])
            rows[-1].append((name, color))
        rows = rows[:4]
        for number, row in enumerate(reversed(rows)):
            left = 0
            for name, color in row:
                at = x + 0.006 + left / room * w
                height = y + (5 + 11 * number) * line
                self.figure.text(at, height, "▬", fontsize=7.5, color=color)
                self.figure.text(at + 0.009, height, name, fontsize=7.5, color="#3b434b")
                left += len(name) + 4
        return len(rows)

    def _table(self, panel: Json, box: tuple[float, ...], answer: list[Json]) -> None:
        x, y, w, h = box
        answer = [row | {"metric": self._named(row["metric"])} for row in answer]
        columns = sorted({label for row in answer for label in row["metric"]}) + ["calls"]
        rows = [[row["metric"].get(label, "") for label in columns[:-1]] + [f"{float(row['value'][1]):.0f}"] for row in answer]
        room = 11
        widest = [max(len(row[place]) for row in [columns, *rows[:room]]) + 3 for place in range(len(columns))]
        for number, cells in enumerate([columns, *rows[:room]]):
            left = 0
            for place, cell in enumerate(cells):
                self.figure.text(
                    x + 0.008 + left / sum(widest) * (w - 0.016), y + h * (0.82 - 0.068 * number), cell,
                    fontsize=8, color=INK if number else FAINT, fontweight="normal" if number else "bold",
                )
                left += widest[place]


def _names(panel: Json) -> dict[str, tuple[str, str]]:
    return {
        value: (named["text"], named["color"])
        for mapping in panel["fieldConfig"]["defaults"]["mappings"]
        for value, named in mapping["options"].items()
    }


def _number(value: float, panel: Json) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["unit"] == "percentunit":
        return f"{100 * value:.{defaults.get('decimals', 1)}f} %"
    if defaults["unit"] == "s":
        return f"{1000 * value:.1f} ms"
    return f"{value:g}"


def main(run: Path, picture: Path) -> None:
    plt.rcParams["font.family"] = "DejaVu Sans"
    drawing = Drawing(json.loads(run.read_text()))
    drawing.figure.savefig(picture, facecolor=GROUND)
    # A third of the bytes, and nothing that an eye would miss.
    with Image.open(picture) as image:
        image.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
