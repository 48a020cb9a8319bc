"""From a sweep's samples to tables: Markdown for docs/results.md, and every point as CSV."""

import csv
import re
from pathlib import Path
from statistics import median
from typing import Callable, Dict, Iterable, List, Optional, Tuple

import report

LOADS = ("ab", "ab -k", "wrk")
METRICS = ("per_second", "p50_us", "p95_us", "cpu_us", "busiest")
POINT = ("sweep", "value", "handler", "path", "routes", "load", "connections", "flags")
COLUMNS = (*POINT, "samples", "per_second", "p50_us", "p95_us", "failed", "cpu_us", "busiest")
Key = Tuple[str, str, str]  # sweep, value, handler

# What is compared in "In short", at -c 100: text, these, those.
RATIOS: Tuple[Tuple[str, Key, Key], ...] = (
    ("one hot route that blocks, 8 shards: bounded load / route hash alone",
     ("routes", "bounded load, 1", "block"), ("routes", "route hash alone, 1", "block")),
    ("sixteen routes that block, 8 shards: bounded load / route hash alone",
     ("routes", "bounded load, 16", "block"), ("routes", "route hash alone, 16", "block")),
    ("one hot route that blocks, 8 shards: round robin / bounded load",
     ("routes", "round robin, 1", "block"), ("routes", "bounded load, 1", "block")),
    ("one hot route that computes, 8 shards: bounded load / route hash alone",
     ("routes", "bounded load, 1", "spin"), ("routes", "route hash alone, 1", "spin")),
    ("one hot route that does nothing, 8 shards: bounded load / route hash alone",
     ("routes", "bounded load, 1", "sync"), ("routes", "route hash alone, 1", "sync")),
    ("sixteen routes that compute, 8 shards: round robin / route hash alone",
     ("routes", "round robin, 16", "spin"), ("routes", "route hash alone, 16", "spin")),
    ("sixteen routes that do nothing, 8 shards: round robin / route hash alone",
     ("routes", "round robin, 16", "sync"), ("routes", "route hash alone, 16", "sync")),
    ("/async: 16 shards / 1", ("shards", "16", "async"), ("shards", "1", "async")),
    ("/sleep: 16 shards / 1", ("shards", "16", "sleep"), ("shards", "1", "sleep")),
    ("/spin: 16 shards / 1", ("shards", "16", "spin"), ("shards", "1", "spin")),
    ("/block: 16 shards / 1", ("shards", "16", "block"), ("shards", "1", "block")),
    ("/pool (4 threads) / /block, 1 shard", ("shards", "1", "pool"), ("shards", "1", "block")),
    ("/async: batches of 128 / of 1", ("batch", "128", "async"), ("batch", "1", "async")),
    ("/async: single / sharded", ("mode", "single, 140 workers", "async"), ("mode", "sharded", "async")),
    ("/sleep: single / sharded", ("mode", "single, 140 workers", "sleep"), ("mode", "sharded", "sleep")),
    ("/spin: single / sharded", ("mode", "single, 140 workers", "spin"), ("mode", "sharded", "spin")),
    ("/block: single / sharded", ("mode", "single, 140 workers", "block"), ("mode", "sharded", "block")),
)


def same_point(sample: dict) -> tuple:
    return (sample["path"], sample["load"], sample["connections"], tuple(sample["flags"]), sample["routes"])


def rows(samples: List[dict]) -> List[dict]:
    """A row for each point, of all samples that measured the same: the defaults are in several sweeps."""
    grouped: Dict[tuple, List[dict]] = {}
    for sample in samples:
        grouped.setdefault(same_point(sample), []).append(sample)
    every = {}
    for sample in samples:
        group = grouped[same_point(sample)]
        row = {name: sample[name] for name in POINT}
        row.update({name: median(s[name] for s in group) for name in METRICS})
        row.update(samples=len(group), failed=sum(s["failed"] for s in group))
        every[(row["sweep"], row["value"], *same_point(sample))] = row
    return sorted(every.values(), key=order)


def number_in(value: str) -> int:
    found = re.findall(r"\d+", value)
    return int(found[-1]) if found else 0


def order(row: dict) -> tuple:
    """Shards and so on by their number, placements and modes as they come."""
    value = row["value"]
    return (row["sweep"], row["handler"], row["load"], row["routes"], row["connections"], number_in(value), value)


# -- Markdown --


def ms(us: float) -> str:
    return f"{us / 1000:.{0 if us >= 99950 else 1}f}"


def cell(row: Optional[dict]) -> str:
    if row is None:
        return "-"
    failed = f" · **{row['failed']} failed**" if row["failed"] else ""
    return f"{row['per_second']:,.0f} · {ms(row['p50_us'])} / {ms(row['p95_us'])} ms · {row['cpu_us']:.0f} us{failed}"


def lines_of(heads: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def table(chosen: List[dict], row_of: Callable[[dict], str], column_of: Callable[[dict], str],
          show: Callable[[Optional[dict]], str] = cell, columns: Iterable[str] = ()) -> str:
    names = list(dict.fromkeys([*columns, *map(column_of, chosen)]))
    found = {(row_of(row), column_of(row)): row for row in chosen}
    kinds = dict.fromkeys(row_of(row) for row in chosen)
    return lines_of(["", *names], ([kind, *(show(found.get((kind, name))) for name in names)] for kind in kinds))


def of(every: List[dict], sweep: str) -> List[dict]:
    return [row for row in every if row["sweep"] == sweep]


def by_value(every: List[dict], sweep: str) -> str:
    return table(of(every, sweep), lambda r: f"/{r['handler']}, {r['load']}", lambda r: r["value"])


def modes(every: List[dict]) -> str:
    first = ("sharded", "sharded, 14 shards", "single, 140 workers")
    return table(of(every, "mode"), lambda r: f"/{r['handler']}, {r['load']}", lambda r: r["value"], columns=first)


def placement(row: dict) -> str:
    return row["value"].rpartition(", ")[0]


PLACEMENTS = ("route hash alone", "bounded load", "round robin")


def routes(every: List[dict]) -> str:
    def show(row: Optional[dict]) -> str:
        return f"{cell(row)} · {row['busiest']:.0%}" if row else "-"

    return table(of(every, "routes"), lambda r: f"{r['handler']}, {r['routes']} route{'s' if r['routes'] > 1 else ''}",
                 placement, show, PLACEMENTS)


def spill(every: List[dict]) -> str:
    return table(of(every, "spill"), lambda r: f"/{r['handler']}, {placement(r)}",
                 lambda r: r["value"].rpartition(", ")[2])


def grid(every: List[dict]) -> str:
    if not of(every, "grid"):
        return "Not measured in this run: `make sweep FULL=1`.\n"
    chosen = sorted(of(every, "grid"), key=lambda r: [int(word) for word in r["value"].split(" x ")])
    chosen.sort(key=lambda r: (r["handler"], r["connections"]))
    return table(chosen, lambda r: f"/{r['handler']}, -c {r['connections']}", lambda r: r["value"],
                 lambda r: f"{r['per_second']:,.0f}" if r else "-")


def in_short(every: List[dict]) -> str:
    """Ratios of each load, ab, ab -k, wrk; routes have wrk alone."""
    found = {(row["sweep"], row["value"], row["handler"], row["load"]): row for row in every}
    body = []
    for text, these, those in RATIOS:
        pairs = [(found.get((*these, load)), found.get((*those, load))) for load in LOADS]
        pairs = [(a, b) for a, b in pairs if a and b and a["per_second"] and b["per_second"]]
        if pairs:
            names = ("per_second", "p95_us", "cpu_us")
            body.append([text, *(ratio([a[name] / b[name] for a, b in pairs]) for name in names)])
    return lines_of(["", "requests/s, x", "p95, x", "CPU a request, x"], body)


def ratio(values: List[float]) -> str:
    return " / ".join(f"{value:.{1 if value >= 9.95 else 2}f}" for value in values)


def noise(samples: List[dict]) -> str:
    """How far the same point differs from itself: what is smaller says nothing."""
    body = []
    for handler, load in sorted(dict.fromkeys((s["handler"], s["load"]) for s in samples)):
        group = [s for s in samples if (s["handler"], s["load"], s["connections"]) == (handler, load, 100)
                 and not s["flags"] and not s["routes"]]
        if len(group) > 1:
            spreads = (spread([s[name] for s in group]) for name in ("per_second", "cpu_us"))
            body.append([f"/{handler}, {load}", str(len(group)), *spreads])
    return lines_of(["defaults", "samples", "requests/s", "CPU a request, us"], body)


def spread(values: List[float]) -> str:
    digits = 0 if median(values) >= 1000 else 1
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def about(result: dict) -> str:
    here, versions, samples = result["machine"], result["versions"], result["samples"]
    others = [s["other_cpus"] for s in samples]
    bad = [s for s in samples if s["failed"]]
    python = versions.get("python", "")
    return (
        f"`{result['command']}`, {result['date'][:10]}, commit {result['commit'][:12]}: {len(samples)} samples of"
        f" {result['seconds']} s in {result['took_s'] / 60:.0f} minutes.\n"
        f"{here['cpus']} CPUs ({here['cpu']}), {here['system']}, {python}, uvloop {versions.get('uvloop', '-')};"
        f" loads from the same machine.\n"
        f"Load average {result['load_averages'][0]:.1f} before, {result['load_averages'][-1]:.1f} after; programs other"
        f" than server and load used {median(others):.2f} CPUs (median; {max(others):.2f} at worst).\n"
        f"Requests that failed: {sum(s['failed'] for s in samples)} of {sum(s['requests'] for s in samples):,}"
        f"{', in ' + str(len(bad)) + ' samples' if bad else ''}.\n"
    )


def parts(result: dict) -> Dict[str, str]:
    every = rows(result["samples"])
    return {
        "about": about(result),
        "in-short": in_short(every),
        "noise": noise(result["samples"]),
        "routes": routes(every),
        "spill": spill(every),
        "mode": modes(every),
        "shards": by_value(every, "shards"),
        "batch": by_value(every, "batch"),
        "connections": by_value(every, "connections"),
        "grid": grid(every),
    }


def whole(result: dict) -> str:
    return "\n".join(f"## {name}\n\n{text}" for name, text in parts(result).items())


def fill(page: str, result: dict) -> str:
    """Put each table between its marks; what people wrote around them stays."""
    for name, text in parts(result).items():
        page = report.fill(page, f"sweep: {name}", text)
    return page


def write_csv(path: Path, result: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        for row in rows(result["samples"]):
            row = {**row, "flags": " ".join(row["flags"]), **{n: round(row[n], 2) for n in METRICS}}
            out.writerow(row[name] for name in COLUMNS)
