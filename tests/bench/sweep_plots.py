"""Draw a sweep. It runs in the environment that has matplotlib. usage: sweep_plots.py SWEEP_JSON DIRECTORY"""

import io
import json
import sys
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
import sweep_report  # noqa: E402
from matplotlib.ticker import NullFormatter  # noqa: E402
from PIL import Image  # noqa: E402

HANDLERS = ("async", "sleep", "spin", "block", "pool")
WORK = {"sync": "/r/n: next to nothing", "spin": "100 us of computing", "block": "1 ms of blocking"}
RATE = ("per_second", "requests/s", 1)
CPU = ("cpu_us", "CPU us a request", 1)
P95 = ("p95_us", "p95, ms", 1000)
Metric = Tuple[str, str, int]

plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": 100, "font.size": 8, "lines.markersize": 3,
                     "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3,
                     "axes.spines.top": False, "axes.spines.right": False})


def save(figure, path: Path) -> None:
    """With 32 colours a picture is a third of its size, and looks the same."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(32, dither=Image.Dither.NONE).save(path, optimize=True)


def legend(figure, panel) -> None:
    """One for all panels, below them."""
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)


def lines(rows: List[dict], sweep: str, label: str, metrics: Tuple[Metric, Metric], path: Path) -> None:
    """A column of panels for each handler, a line for each load; values at equal distances."""
    rows = sweep_report.of(rows, sweep)
    handlers = [name for name in HANDLERS if any(row["handler"] == name for row in rows)]
    if not handlers:
        return
    size = (2.2 * len(handlers), 4)
    figure, panels = plt.subplots(2, len(handlers), figsize=size, squeeze=False, layout="constrained")
    for column, handler in enumerate(handlers):
        for (name, text, unit), panel in zip(metrics, panels[:, column]):
            for load in sweep_report.LOADS:
                mine = [row for row in rows if (row["handler"], row["load"]) == (handler, load)]
                panel.plot([row["value"] for row in mine], [row[name] / unit for row in mine], "o-", label=load)
            panel.set_ylim(bottom=0)
            if column == 0:
                panel.set_ylabel(text)
        panels[0, column].set_title(f"/{handler}")
        panels[1, column].set_xlabel(label)
    legend(figure, panels[0, 0])
    save(figure, path)


def bars(panel, groups: List[str], series: Dict[str, List[float]]) -> None:
    width = 0.8 / len(series)
    for at, (name, values) in enumerate(series.items()):
        panel.bar([x + (at - (len(series) - 1) / 2) * width for x in range(len(groups))], values, width, label=name)
    panel.set_xticks(range(len(groups)), groups)


def pick(rows: List[dict], matches: Callable[[dict], bool], name: str, unit: int = 1) -> float:
    return next((row[name] / unit for row in rows if matches(row)), 0.0)


def modes(rows: List[dict], path: Path) -> None:
    rows = sweep_report.of(rows, "mode")
    if not rows:
        return
    values = ("sharded", "sharded, 14 shards", "single, 140 workers")
    figure, panels = plt.subplots(2, len(sweep_report.LOADS), figsize=(11, 4.4), layout="constrained")
    for column, load in enumerate(sweep_report.LOADS):
        for (name, text, unit), panel in zip((RATE, CPU), panels[:, column]):
            bars(panel, [f"/{h}" for h in HANDLERS], {value: [
                pick(rows, lambda r: (r["value"], r["handler"], r["load"]) == (value, handler, load), name, unit)
                for handler in HANDLERS] for value in values})
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter("{x:,.0f}")
            panel.yaxis.set_minor_formatter(NullFormatter())
            if column == 0:
                panel.set_ylabel(text)
        panels[0, column].set_title(f"{load} -c 100")
    legend(figure, panels[0, 0])
    save(figure, path)


def routes(rows: List[dict], path: Path) -> None:
    """One hot route and sixteen on 8 shards; then the hot one on more and more shards."""
    fixed, rising = sweep_report.of(rows, "routes"), sweep_report.of(rows, "spill")
    if not fixed or not rising:
        return
    figure, panels = plt.subplots(1, 5, figsize=(13, 2.6), layout="constrained")
    for panel, handler in zip(panels, ("sync", "spin", "block")):
        bars(panel, ["1 route", "16 routes"], {placement: [
            pick(fixed, lambda r: (r["value"], r["handler"]) == (f"{placement}, {count}", handler), "per_second")
            for count in (1, 16)] for placement in sweep_report.PLACEMENTS})
        panel.set_title(WORK[handler])
    for panel, handler in zip(panels[3:], ("spin", "block")):
        for placement in sweep_report.PLACEMENTS[:2]:
            mine = [r for r in rising if (r["handler"], sweep_report.placement(r)) == (handler, placement)]
            panel.plot([r["value"].rpartition(", ")[2] for r in mine], [r["per_second"] for r in mine], "o-")
        panel.set_ylim(bottom=0)
        panel.set_xlabel("shards")
        panel.set_title(f"one hot route: /{handler}")
    panels[0].set_ylabel("requests/s, wrk -c 100")
    legend(figure, panels[0])
    save(figure, path)


def grid(rows: List[dict], path: Path) -> None:
    rows = sweep_report.of(rows, "grid")
    if not rows:
        return
    counts = sorted({row["connections"] for row in rows})
    figure, panels = plt.subplots(len(counts), len(HANDLERS), figsize=(11, 5), layout="constrained")
    for line, connections in enumerate(counts):
        for column, handler in enumerate(HANDLERS):
            mine = [r for r in rows if (r["connections"], r["handler"]) == (connections, handler)]
            shaded(panels[line, column], mine)
        panels[line, 0].set_ylabel(f"-c {connections}\nbatch")
    for column, handler in enumerate(HANDLERS):
        panels[0, column].set_title(f"/{handler}, requests/s")
        panels[-1, column].set_xlabel("shards")
    save(figure, path)


def shaded(panel, rows: List[dict]) -> None:
    shards, batches = (sorted({int(r["value"].split(" x ")[i]) for r in rows}) for i in (0, 1))
    found = {r["value"]: r["per_second"] for r in rows}
    values = [[found.get(f"{s} x {b}", 0) for s in shards] for b in batches]
    darkest = 1.8 * max(map(max, values))  # figures must stay readable
    panel.pcolormesh(values, cmap="YlGn", vmin=0, vmax=darkest)
    panel.grid(False)
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            panel.text(x + 0.5, y + 0.5, f"{value:,.0f}", ha="center", va="center", fontsize=6)
    panel.set_xticks([x + 0.5 for x in range(len(shards))], shards)
    panel.set_yticks([y + 0.5 for y in range(len(batches))], batches)


def main() -> None:
    result, where = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    where.mkdir(parents=True, exist_ok=True)
    rows = sweep_report.rows(result["samples"])
    lines(rows, "shards", "shards", (RATE, CPU), where / "shards.png")
    lines(rows, "batch", "batch_max", (RATE, CPU), where / "batch.png")
    lines(rows, "connections", "connections", (RATE, P95), where / "connections.png")
    modes(rows, where / "mode.png")
    routes(rows, where / "routes.png")
    grid(rows, where / "grid.png")


if __name__ == "__main__":
    main()
