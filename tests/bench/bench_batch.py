"""A model behind a batch handler, beside the same model called for each request. docs/benchmarks.md explains it.

    make bench-batch
    BATCH_ROUNDS=7 DOCS=1 make bench-batch
    python3 tests/bench/bench_batch.py --only c64,linear --rounds 3
    python3 tests/bench/bench_batch.py --from build/batch.json --docs

Each model of examples/predict.py runs as one process with one shard (the forest is measured four times as long: one by one
it answers some hundreds of requests/s, and a batch of them at once). `one` calls it for each request, `batch` for all that
came while it was at work, `wait` also has each batch wait for up to 2 ms. DOCS=1 writes docs/benchmarks.md and its picture.
"""

import argparse
import functools
import json
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import bench
import machine
import processes
import report
import rounds
from loads import Wrk, measure
from servers import HERE, PYTHON, ROOT, Program, Server

JSON = "application/json"
ROWS = 256  # different ones, sent in turn
PICTURE = "batch_handlers.png"
GOAL, GOAL_LOAD = 5, "c64"  # times the requests/s of one by one


class Kind(NamedTuple):
    what: str
    features: int
    heavy: bool = True  # a model for which batches are meant
    times: int = 1  # as long as others are measured


MODELS: Dict[str, Kind] = {
    "linear": Kind("scikit-learn: scaling, logistic regression", 32),
    "forest": Kind("scikit-learn: random forest, 100 trees", 32, times=4),
    "numpy": Kind("numpy: network of 256, 1024, 512, 256, 1", 256),
    "light": Kind("numpy: mean of 8 numbers", 8, False),
}
PATHS: Dict[str, str] = {"one": "/predict/one", "batch": "/predict", "wait": "/predict/wait"}
HOWS = {"one": "one by one", "batch": "batch", "wait": "batch that waits 2 ms"}


class Load(NamedTuple):
    connections: int
    what: str
    json: bool = False

    def of(self, model: str) -> Wrk:
        bodies = rows(MODELS[model].features, self.json)
        return Wrk(self.connections, 1, self.what, bodies=bodies, **({"content_type": JSON} if self.json else {}))


LOADS: Dict[str, Load] = {
    **{f"c{n}": Load(n, f"wrk -t1 -c{n}, rows as float32") for n in (1, 4, 16, 64, 128)},
    "json": Load(64, "wrk -t1 -c64, rows as JSON", True),
}


@functools.lru_cache(maxsize=None)
def rows(features: int, as_json: bool) -> Tuple[bytes, ...]:
    """Rows of normal numbers: alike, they would all take the same way through a tree."""
    numbers = random.Random(1)
    every = [[round(numbers.gauss(0, 1), 4) for _ in range(features)] for _ in range(ROWS)]
    if as_json:
        return tuple(json.dumps(row, separators=(",", ":")).encode() for row in every)
    return tuple(struct.pack(f"<{features}f", *row) for row in every)


def program(model: str) -> Program:
    argv = [str(PYTHON), str(HERE / "batch_app.py"), "--port", "0", "--shards", "1", "--model", model]
    return Program(lambda port: argv, model, ready="/")


def measure_calls(server: Server, load: Load, model: str, how: str, seconds: int) -> dict:
    """Also how many rows the model got at once."""
    before = json.loads(server.get("/calls"))
    sample = measure(load.of(model), server, PATHS[how], processes.Cpus(None, None), seconds * MODELS[model].times, None)
    after = json.loads(server.get("/calls"))
    calls, found = (after[name] - before[name] for name in ("calls", "rows"))
    return {**sample, "rows": found / calls}


def run_rounds(args: argparse.Namespace) -> List[dict]:
    """The ways to call a model one after the other at each point, so that what moves the machine moves them all."""
    models, hows = (rounds.chosen(args.only, names) or list(names) for names in (MODELS, PATHS))
    todo = {load: [f"{model} {how}" for model in models for how in hows]
            for load in rounds.chosen(args.only, LOADS) or LOADS}
    with rounds.serving({model: program(model) for model in models}) as servers:
        def take(load: str, target: str) -> dict:
            model, how = target.split()
            return measure_calls(servers[model], LOADS[load], model, how, args.seconds)

        return rounds.run(todo, args.rounds, take)


# -- what it says --


def summarize(samples: List[dict]) -> List[dict]:
    ones = [target for target in dict.fromkeys(s["target"] for s in samples) if target.endswith(" one")]
    return report.summarize(samples, ones, (*report.KEYS, "rows", "load_cpus"))


def beside_one(row: dict, key: str, with_range: bool = False) -> str:
    return report.ratio(row.get(f"{key}_x_{row['target'].split()[0]} one"), with_range)


def print_tables(rows: List[dict]) -> None:
    for load in dict.fromkeys(row["load"] for row in rows):
        print(f"\n{load}: {LOADS[load].what}")
        report.print_lines(
            ["", "requests/s", "p50", "p95", "p99", "failed", "CPU/request", "rows a call", "req/s x one", "CPU x one"],
            [[*report.cells(row), f"{row['rows']:.1f}", beside_one(row, "per_second", True),
              beside_one(row, "cpu_us", True)] for row in rows if row["load"] == load])


def goals(rows: List[dict]) -> List[Tuple[str, bool]]:
    """Of each model, by the medians within a round."""
    out = []
    for row in rows:
        model, how = row["target"].split()
        times = row.get(f"per_second_x_{model} one")
        if (row["load"], how) == (GOAL_LOAD, "batch") and MODELS[model].heavy and times:
            out.append((f"{model}: {times['median']:.1f} times the requests/s of one by one at {GOAL_LOAD}, goal {GOAL}",
                        times["median"] >= GOAL))
    return out


def markdown(rows: List[dict]) -> str:
    """A table for each model: a line for each load."""
    by_name = {(row["load"], row["target"]): row for row in rows}
    out = []
    for model, kind in MODELS.items():
        lines = [f"**{kind.what}**" + ("" if kind.heavy else ", as a handler with nothing to gain"), "",
                 "| | one by one | batch | batch that waits 2 ms | batch : one by one |", "|---|---|---|---|---|"]
        for load in LOADS:
            mine = [by_name.get((load, f"{model} {how}")) for how in PATHS]
            if all(mine):
                lines.append(f"| {load} | " + " | ".join(map(_cell, mine)) + f" | {beside_one(mine[1], 'per_second', True)} |")
        out += [*lines, ""] if len(lines) > 4 else []
    return "\n".join(out)


def _cell(row: dict) -> str:
    _, per_second, p50, _, p99, failed, cpu = report.cells(row)
    at_once = "" if row["target"].endswith(" one") else f", {row['rows']:.1f} rows"
    return f"{per_second}/s, {p50}, {p99}, {cpu}{at_once}" + (f", **{failed} failed**" if row["failed"] else "")


def about_run(result: dict) -> str:
    here, versions, samples = result["machine"], result["versions"], result["samples"]
    others = sorted(s["other_cpus"] for s in samples)
    return (f"{result['rounds']} rounds of {result['seconds']} s, {result['date'][:10]}, commit {result['commit'][:12]}; "
            f"{here['cpus']} CPUs ({here['cpu']}), {here['system']}, {versions['python']}, numpy {versions.get('numpy', '-')}, "
            f"scikit-learn {versions.get('scikit-learn', '-')}.\nOther programs used {others[len(others) // 2]:.2f} CPUs (median; "
            f"{others[-1]:.2f} at worst). Requests that failed: {sum(s['failed'] for s in samples)} of "
            f"{sum(s['requests'] for s in samples):,}.\n\n")


def write_docs(result: dict, data: Path, docs: bool) -> None:
    where = ROOT / "docs/results" if docs else ROOT / "build"
    subprocess.run([str(PYTHON), str(HERE / "batch_plots.py"), str(data), str(where / PICTURE)], check=True)
    print(f"written: {where / PICTURE}")
    if docs:
        page = ROOT / "docs/benchmarks.md"
        text = about_run(result) + markdown(result["summary"])
        page.write_text(report.fill(page.read_text(), "bench-batch: figures", text))
        print(f"written: {page}")


def arguments() -> argparse.Namespace:
    flags = rounds.parser(__doc__, "batch", 3, "loads, models, and one, batch, wait")
    flags.add_argument("--docs", action="store_true", default=os.environ.get("DOCS") == "1", help="write docs/, too")
    flags.add_argument("--from", dest="source", type=Path, metavar="JSON", help="what was measured before")
    return rounds.parse(flags, [*LOADS, *MODELS, *PATHS])


def main() -> int:
    args = arguments()
    if args.source:
        result = json.loads(args.source.read_text())
        print_tables(result["summary"])
        write_docs(result, args.source, args.docs)
        return 0
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    about["versions"].update(machine.packages(str(PYTHON), "numpy scikit-learn"))
    samples = run_rounds(args)
    summary = summarize(samples)
    print_tables(summary)
    bench.print_noise(samples)
    for text, good in goals(summary):
        print(f"{'reached' if good else 'MISSED '}  {text}")
    rounds.finish(args, about, begun, summary=summary, samples=samples)
    write_docs(json.loads(args.json.read_text()), args.json, args.docs)
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
