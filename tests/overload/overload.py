"""make overload: goodput against offered load, and how long a server takes to recover.

The handler sleeps for a millisecond on one shard, so a server's capacity is some 900 requests/s and the load costs little.
The capacity is what 32 connections that wait for each answer get. For each factor a server is started, is offered half of
its capacity for a second, factor times its capacity, and half again; offer.c sends at a fixed rate whatever comes back,
and gives each request up a second after it was due (a client's patience). Good are answers 200 within that second.

best       the most goodput of a configuration over all factors
at 5x      goodput there, divided by the best (goal: 0.8)
recovery   from the end of the overload to the first 100 ms from which on nine of ten requests are good again (goal: 1 s)
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/bench")]

import machine  # noqa: E402
import processes  # noqa: E402
import report  # noqa: E402
from loads import Wrk  # noqa: E402
from servers import Program, Server, demo_c, demo_python  # noqa: E402

OFFER = ROOT / "build/release/tests/overload/offer"
PATH = "/block?ms=1"
FACTORS = (0.5, 0.8, 1, 1.5, 2, 3, 5)
DEMOS = {"c": demo_c("--shards", "1", "--io-threads", "1"), "python": demo_python("--shards", "1")}
TIMEOUT_MS = 1000
CONNECTIONS = 8000
HALF_MS = 1000
CAPACITY_SECONDS = 3
RECOVERED = 0.9


class Config(NamedTuple):
    name: str
    demo: str
    flags: List[str]


def defaults() -> List[Config]:
    """The settings' defaults, nothing learned, a queue that a client's patience outlasts, and a limit to the wait."""
    kinds = [("defaults", []), ("queue_patience off", ["--queue-patience", "off"]), ("queue_max 100", ["--queue-max", "100"]),
             ("queue_timeout_ms 300", ["--queue-timeout-ms", "300"])]
    return [Config(name, demo, flags) for demo in DEMOS for name, flags in kinds]


def parse(text: str) -> Config:
    name, _, rest = text.partition("=")
    demo, *flags = rest.split()
    if demo not in DEMOS:
        raise argparse.ArgumentTypeError(f"{text!r}: after = comes c or python, then flags")
    return Config(name, demo, flags)


def start(config: Config) -> Server:
    return Server(config.name, None, program=Program(DEMOS[config.demo], config.name), flags=config.flags)


def capacity_of(config: Config) -> float:
    server = start(config)
    try:
        result = Wrk(32, 1, "closed loop").run(server.url(PATH), None, CAPACITY_SECONDS)
        return result.requests / result.seconds
    finally:
        server.stop()


def offer(config: Config, capacity: float, factor: float, overload_ms: int, after_ms: int) -> dict:
    half = capacity / 2
    phases = (f"{half}:{HALF_MS}", f"{capacity * factor}:{overload_ms}", f"{half}:{after_ms}")
    server = start(config)
    try:
        argv = [str(OFFER), str(server.port), PATH, str(TIMEOUT_MS), str(CONNECTIONS), *phases]
        done = processes.run(argv, None, timeout=overload_ms / 1000 + after_ms / 1000 + 60)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr}")
    finally:
        server.stop(seconds=60)
    return json.loads(done.stdout)


def recovery_s(seen: dict) -> float:
    """Seconds after the overload; more than was watched when it never came."""
    first = round((seen["phases"][2]["from_s"]) * 10)
    last = first + round(seen["phases"][2]["seconds"] * 10)
    at = last
    while at > first and seen["good"][at - 1] >= RECOVERED * seen["due"][at - 1]:
        at -= 1
    return (at - first) / 10


def point(config: Config, capacity: float, factor: float, seconds: float, after: float) -> dict:
    seen = offer(config, capacity, factor, int(seconds * 1000), int(after * 1000))
    phase = seen["phases"][1]
    bins = slice(round(phase["from_s"] * 10), round((phase["from_s"] + phase["seconds"]) * 10))
    out = {"config": config.name, "demo": config.demo, "factor": factor, "capacity": capacity, "offered": phase["rate"],
           "goodput": phase["good"] / phase["seconds"], "p50_ms": phase["p50_ms"], "p99_ms": phase["p99_ms"],
           "recovery_s": recovery_s(seen), "watched_s": after, "timeline": seen}
    for name in ("shed", "other", "late", "unsent", "broken"):
        out[name] = sum(seen[name][bins])
    print(f"{config.demo:6} {config.name:20} {factor:3}x: offered {out['offered']:6.0f}/s, good {out['goodput']:6.0f}/s, "
          f"p99 {out['p99_ms']:6.1f} ms, shed {out['shed']}, late {out['late'] + out['unsent']}, broken {out['broken']}, "
          f"recovery {out['recovery_s']:.1f} s", flush=True)
    return out


def table(points: List[dict]) -> str:
    lines = ["| demo | settings | capacity | offered | goodput/s | of best | p50, p99 ms | 503 | too late | recovery |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    best: Dict[tuple, float] = {}
    for p in points:
        key = (p["demo"], p["config"])
        best[key] = max(best.get(key, 0.0), p["goodput"])
    for p in points:
        recovery = f"{p['recovery_s']:.1f} s" if p["recovery_s"] < p["watched_s"] else f"not in {p['watched_s']:.0f} s"
        lines.append(f"| {p['demo']} | {p['config']} | {p['capacity']:.0f}/s | {p['factor']}x | {p['goodput']:.0f} | "
                     f"{p['goodput'] / best[p['demo'], p['config']]:.2f} | {p['p50_ms']:.1f}, {p['p99_ms']:.1f} | "
                     f"{p['shed']} | {p['late'] + p['unsent'] + p['broken'] + p['other']} | {recovery} |")
    return "\n".join(lines) + "\n"


def about(result: dict) -> str:
    here = result["machine"]
    return (f"{result['date'][:10]}, commit {result['commit'][:12]}; {here['cpus']} CPUs ({here['cpu']}), {here['system']}; load "
            f"average {here['load_average']:.1f} before.\n\n")


def draw(data: Path, where: Path) -> None:
    where.mkdir(parents=True, exist_ok=True)
    python = ROOT / "build/venv/bin/python"
    subprocess.run([str(python), str(Path(__file__).with_name("plots.py")), str(data), str(where)], check=True)
    print(f"written: {data}, {where}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", action="append", type=parse, metavar="NAME=c|python FLAGS",
                        help="measure this instead of the usual ones; may be repeated")
    parser.add_argument("--demos", default=",".join(DEMOS), help="[%(default)s]")
    parser.add_argument("--factors", default=",".join(map(str, FACTORS)), help="[%(default)s]")
    parser.add_argument("--seconds", type=float, default=4, help="of overload [%(default)s]")
    parser.add_argument("--after", type=float, default=4, help="seconds that are watched behind it [%(default)s]")
    parser.add_argument("--docs", action="store_true", default=os.environ.get("DOCS") == "1", help="write docs/, too")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="what was measured before")
    return parser.parse_args()


def measure(args: argparse.Namespace) -> dict:
    result = {**machine.describe(), "points": []}
    for config in args.config or defaults():
        if config.demo not in args.demos.split(","):
            continue
        capacity = capacity_of(config)
        for factor in args.factors.split(","):
            result["points"].append(point(config, capacity, float(factor), args.seconds, args.after))
    return result


def main() -> None:
    args = arguments()
    processes.unwind_on_signals()
    data = args.source or ROOT / "build/overload.json"
    if args.source:
        result = json.loads(data.read_text())
    else:
        result = measure(args)
        data.write_text(json.dumps(result) + "\n")
    text = about(result) + table(result["points"])
    print(text)
    if args.docs:
        page = ROOT / "docs/overload.md"
        page.write_text(report.fill(page.read_text(), "overload: figures", text))
    draw(data, ROOT / ("docs/overload" if args.docs else "build/overload"))


if __name__ == "__main__":
    main()
