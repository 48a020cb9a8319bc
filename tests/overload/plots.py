"""Draw what overload.py measured. It runs in the environment that has matplotlib. usage: plots.py JSON DIRECTORY"""

import json
import sys
from pathlib import Path
from typing import List

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "bench")]

from sweep_plots import legend, plt, save  # noqa: E402

TITLES = {"c": "C demo", "python": "Python demo"}


def names(points: List[dict], key: str) -> List[str]:
    return list(dict.fromkeys(p[key] for p in points))


def goodput(points: List[dict], path: Path) -> None:
    demos = names(points, "demo")
    figure, panels = plt.subplots(1, len(demos), figsize=(4.5 * len(demos), 3.4), squeeze=False, layout="constrained")
    for demo, panel in zip(demos, panels[0]):
        mine = [p for p in points if p["demo"] == demo]
        for config in names(mine, "config"):
            line = [p for p in mine if p["config"] == config]
            panel.plot([p["factor"] for p in line], [p["goodput"] / p["capacity"] for p in line], "o-", label=config)
        panel.plot([0, 1, max(p["factor"] for p in mine)], [0, 1, 1], ":", color="gray", label="ideal")
        panel.set(title=TITLES[demo], xlabel="offered load / capacity", ylim=(0, 1.3))
    panels[0, 0].set_ylabel("good answers / capacity")
    legend(figure, panels[0, 0])
    save(figure, path)


def smooth(counts: List[int]) -> List[float]:
    """Answers/s, the mean of half a second: the shard answers a batch of up to 128 at once."""
    windows = (counts[max(0, i - 4) : i + 1] for i in range(len(counts)))
    return [sum(window) * 10 / len(window) for window in windows]


def timeline(points: List[dict], path: Path) -> None:
    """The heaviest overload, in time: good answers by when they came."""
    most = max(p["factor"] for p in points)
    demos = names(points, "demo")
    figure, panels = plt.subplots(1, len(demos), figsize=(4.5 * len(demos), 3.4), squeeze=False, layout="constrained")
    for demo, panel in zip(demos, panels[0]):
        mine = [p for p in points if (p["demo"], p["factor"]) == (demo, most)]
        for p in mine:
            done = smooth(p["timeline"]["done"])
            panel.plot([i / 10 for i in range(len(done))], done, label=p["config"])
        phase = mine[0]["timeline"]["phases"][1]
        panel.axvspan(phase["from_s"], phase["from_s"] + phase["seconds"], alpha=0.12, color="red", label=f"{most:g}x")
        panel.set(title=TITLES[demo], xlabel="seconds")
        panel.set_ylim(bottom=0)
    panels[0, 0].set_ylabel("good answers/s")
    legend(figure, panels[0, 0])
    save(figure, path)


def main() -> None:
    points = json.loads(Path(sys.argv[1]).read_text())["points"]
    where = Path(sys.argv[2])
    goodput(points, where / "goodput.png")
    timeline(points, where / "timeline.png")


if __name__ == "__main__":
    main()
