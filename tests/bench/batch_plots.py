"""Draw what bench_batch.py measured. It runs in the environment that has matplotlib. usage: batch_plots.py JSON PNG"""

import json
import sys
from pathlib import Path
from typing import List

from bench_batch import HOWS, LOADS, MODELS
from matplotlib.ticker import NullFormatter
from sweep_plots import legend, plt, save

METRICS = (("per_second", "requests/s", 1), ("p99_us", "p99, ms", 1000))


def draw(rows: List[dict], path: Path) -> None:
    """A column of panels for each model, a line for each way to call it."""
    models = [model for model in MODELS if any(row["target"].split()[0] == model for row in rows)]
    figure, panels = plt.subplots(2, len(models), figsize=(2.7 * len(models), 4.6), squeeze=False, layout="constrained")
    for column, model in enumerate(models):
        for (key, text, unit), panel in zip(METRICS, panels[:, column]):
            for how, label in HOWS.items():
                mine = [row for row in rows if row["target"] == f"{model} {how}" and not LOADS[row["load"]].json]
                counts = [LOADS[row["load"]].connections for row in mine]
                panel.plot(counts, [row[key] / unit for row in mine], "o-", label=label)
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xticks(counts, map(str, counts))
            panel.yaxis.set_major_formatter("{x:,g}")
            panel.yaxis.set_minor_formatter(NullFormatter())
            if column == 0:
                panel.set_ylabel(text)
        panels[0, column].set_title(MODELS[model].what.replace(": ", ":\n"))
        panels[1, column].set_xlabel("connections")
    legend(figure, panels[0, 0])
    save(figure, path)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text())["summary"], Path(sys.argv[2]))
