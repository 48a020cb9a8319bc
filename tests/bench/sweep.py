"""Measure the Python demo with one setting changed at a time. docs/results.md has the figures and what they teach.

    make sweep                 # 8 minutes
    make sweep FULL=1          # also shards x batch x connections, as the original work had it: 13 minutes
    make sweep DOCS=1          # the result goes to docs/results.md too
    python3 tests/bench/sweep.py --only mode,routes --rounds 3
    python3 tests/bench/sweep.py --from build/sweep.json --docs     # no measuring: tables and plots again

Each point is a server of its own, started with the point's flags, and one load of SWEEP_SECONDS (1). Points are
measured in an order drawn at random (always the same): a slow minute of the machine must not look like what a setting
does.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import machine
import processes
import sweep_report
from loads import Ab, Wrk, measure
from servers import HERE, PYTHON, ROOT, Server

HANDLERS = {"async": "/async", "sleep": "/sleep?ms=1", "spin": "/spin?us=100", "block": "/block?ms=1",
            "pool": "/pool?ms=1"}
ROUTES = {"sync": "/r/0", "spin": "/spins/0?us=100", "block": "/blocks/0?ms=1"}  # of sixteen each
PLACEMENTS = {"route hash alone": {"spill-percent": "0"}, "bounded load": {},
              "round robin": {"placement": "round_robin"}}
MODES = {"sharded": {}, "sharded, 14 shards": {"shards": "14"}, "single, 140 workers": {"mode": "single"}}
DEFAULTS = {"shards": "1", "batch-max": "128"}  # of the Python package, with a GIL
SHARDS = ("1", "2", "4", "8", "12", "16")
BATCHES = ("1", "32", "64", "128", "256")
CONNECTIONS = (50, 100, 200)


class Point(NamedTuple):
    """One cell of a table. Points that differ only in sweep and value measure the same."""

    sweep: str
    value: str  # of the setting that the sweep changes
    handler: str
    path: str
    load: str = "wrk"
    connections: int = 100
    flags: Tuple[str, ...] = ()
    routes: int = 0  # paths taken in turn; 0: one, as in most sweeps


def flags(settings: Dict[str, str]) -> Tuple[str, ...]:
    """What is a default anyway is not said: its points are one and the same, and measured in each sweep."""
    changed = ((name, value) for name, value in settings.items() if DEFAULTS.get(name) != value)
    return tuple(word for name, value in changed for word in ("--" + name, value))


def every_handler(sweep: str, value: str, settings: Dict[str, str], connections: int = 100) -> Iterator[Point]:
    for handler, path in HANDLERS.items():
        for load in ("ab", "ab -k", "wrk"):
            yield Point(sweep, value, handler, path, load, connections, flags(settings))


def hot_and_cold() -> Iterator[Point]:
    """One route against sixteen on 8 shards; then the one that blocks on more and more shards."""
    for handler, path in ROUTES.items():
        for placement, settings in PLACEMENTS.items():
            for routes in (1, 16):
                yield Point("routes", f"{placement}, {routes}", handler, path, routes=routes,
                            flags=flags({"shards": "8", **settings}))


def spill() -> Iterator[Point]:
    for shards in SHARDS:
        for placement in ("route hash alone", "bounded load"):
            for handler in ("block", "spin"):
                yield Point("spill", f"{placement}, {shards}", handler, HANDLERS[handler],
                            flags=flags({"shards": shards, **PLACEMENTS[placement]}))


def grid() -> Iterator[Point]:
    """The original work's, with its load: ab without keep-alive."""
    for handler, path in HANDLERS.items():
        for connections in CONNECTIONS:
            for shards in ("4", "8", "12", "16"):
                for batch in ("64", "128", "256"):
                    yield Point("grid", f"{shards} x {batch}", handler, path, "ab", connections,
                                flags({"shards": shards, "batch-max": batch}))


def plan(only: List[str], full: bool) -> List[Point]:
    points: List[Point] = []
    for value in SHARDS:
        points += every_handler("shards", value, {"shards": value})
    for value in BATCHES:
        points += every_handler("batch", value, {"batch-max": value})
    for connections in CONNECTIONS:
        points += every_handler("connections", str(connections), {}, connections)
    for value, settings in MODES.items():
        points += every_handler("mode", value, settings)
    points += [*hot_and_cold()] * 3  # one load only, and it shall show much
    points += [*spill(), *(grid() if full else ())]
    return [p for p in points if not only or p.sweep in only]


# -- measuring --


def load_of(point: Point):
    if point.load == "wrk":
        return Wrk(point.connections, 1, "", point.routes)
    return Ab(None, point.connections, point.load == "ab -k", 1, "")


def requests_by_shard(server: Server) -> List[int]:
    return [shard["requests"] + shard["pool_requests"] for shard in json.loads(server.get("/stats"))["shards"]]


def busiest_share(before: List[int], after: List[int]) -> float:
    """Of all requests, the share that the busiest shard had."""
    requests = [now - then for then, now in zip(before, after)]
    return max(requests) / max(1, sum(requests))


def measure_point(point: Point, seconds: int) -> dict:
    server = Server("py-sweep", None, flags=point.flags)
    try:
        before = requests_by_shard(server)
        sample = measure(load_of(point), server, point.path, processes.Cpus(None, None), seconds, None)
        return {**point._asdict(), **sample, "busiest": busiest_share(before, requests_by_shard(server))}
    finally:
        server.stop()


def show(number: int, total: int, begun: float, sample: dict) -> None:
    left = (time.monotonic() - begun) / number * (total - number)
    print(f"{number:4}/{total}  {sample['sweep']:11} {sample['value']:20} {sample['handler']:5} {sample['load']:5}"
          f" -c {sample['connections']:<3} {sample['per_second']:7,.0f}/s  p95 {sample['p95_us'] / 1000:6.1f} ms"
          f" {sample['cpu_us']:6.1f} us{'  FAILED ' + str(sample['failed']) if sample['failed'] else ''}"
          f"   {left // 60:.0f}:{left % 60:02.0f} left", flush=True)


def run(points: List[Point], rounds: int, seconds: int) -> List[dict]:
    todo = [(number, point) for number in range(rounds)
            for point in random.Random(number).sample(points, len(points))]
    samples: List[dict] = []
    begun = time.monotonic()
    for number, point in todo:
        samples.append({"round": number, **measure_point(point, seconds)})
        show(len(samples), len(todo), begun, samples[-1])
    return samples


def measure_all(args: argparse.Namespace) -> dict:
    about = machine.describe()
    loads, begun = [os.getloadavg()[0]], time.monotonic()
    points = plan(args.only, args.full)
    points = points[:args.points]
    what = f"{len(points)} points, {args.rounds} x {args.seconds} s each"
    print(f"sweep: {what}; load average {loads[0]:.1f}", flush=True)
    samples = run(points, args.rounds, args.seconds)
    loads.append(os.getloadavg()[0])
    return {**about, "rounds": args.rounds, "seconds": args.seconds, "took_s": round(time.monotonic() - begun),
            "load_averages": loads, "command": command(args), "samples": samples}


def command(args: argparse.Namespace) -> str:
    words = ["make sweep", "FULL=1" if args.full else "", f"SWEEP_ROUNDS={args.rounds}" if args.rounds > 1 else "",
             f"SWEEP_SECONDS={args.seconds}" if args.seconds > 1 else ""]
    return " ".join(word for word in words if word)


# -- what comes out --


def draw(data: Path, where: Path) -> bool:
    """matplotlib is in the environment that the server runs in (scripts/venv.sh plots)."""
    done = subprocess.run([str(PYTHON), str(HERE / "sweep_plots.py"), str(data), str(where)], timeout=300)
    return done.returncode == 0


def write_docs(data: Path, result: dict) -> bool:
    page, where = ROOT / "docs/results.md", ROOT / "docs/results"
    sweep_report.write_csv(where / "points.csv", result)
    page.write_text(sweep_report.fill(page.read_text(), result))
    print(f"written: {page}, {where}")
    return draw(data, where)


def write_build(data: Path, result: dict) -> bool:
    where = data.parent / data.stem
    sweep_report.write_csv(where / "points.csv", result)
    data.with_suffix(".md").write_text(sweep_report.whole(result))
    print(f"written: {data}, {data.with_suffix('.md')}, {where}")
    return draw(data, where)


def arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    known = list(dict.fromkeys(p.sweep for p in plan([], True)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="SWEEPS", help=f"comma-separated, of {', '.join(known)}")
    parser.add_argument("--full", action="store_true", default=os.environ.get("FULL") == "1", help="the grid, too")
    parser.add_argument("--docs", action="store_true", default=os.environ.get("DOCS") == "1", help="write docs/, too")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("SWEEP_ROUNDS", "1")), help="default: 1")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("SWEEP_SECONDS", "1")), help="default: 1")
    parser.add_argument("--points", type=int, metavar="N", help="only the plan's first N points: to try the program")
    parser.add_argument("--json", type=Path, default=ROOT / "build/sweep.json", help="default: build/sweep.json")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="what was measured before")
    args = parser.parse_args(argv)
    args.only = [word for word in args.only.split(",") if word]
    if set(args.only) - set(known):
        parser.error(f"--only takes {', '.join(known)}")
    if args.rounds < 1 or args.seconds < 1 or (args.points is not None and args.points < 1):
        parser.error("--rounds, --seconds and --points take numbers from 1")
    args.full = args.full or "grid" in args.only
    return args


def main(argv: Optional[List[str]] = None) -> int:
    args = arguments(argv)
    processes.unwind_on_signals()
    data = args.source or args.json
    if args.source:
        result = json.loads(data.read_text())
    else:
        result = measure_all(args)
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text(json.dumps(result, indent=1) + "\n")
        print(f"sweep: {result['took_s']} s; load average {result['load_averages'][-1]:.1f}")
    drawn = write_docs(data, result) if args.docs else write_build(data, result)
    return 0 if drawn else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nsweep: interrupted; server ended", file=sys.stderr)
        sys.exit(130)
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"\nsweep: {error}", file=sys.stderr)
        sys.exit(1)
