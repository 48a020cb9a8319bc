"""From samples to tables: medians, and ratios to a server of the same round."""

from statistics import median
from typing import Dict, List, Optional, Sequence

KEYS = ("per_second", "p50_us", "p95_us", "p99_us", "cpu_us")


def _by_round(samples: List[dict], load: str, target: str) -> Dict[int, dict]:
    return {s["round"]: s for s in samples if s["load"] == load and s["target"] == target and s["requests"]}


def ratios(ours: Dict[int, dict], theirs: Dict[int, dict], key: str) -> List[float]:
    """One ratio a round: what moves the whole machine moves both."""
    return [ours[r][key] / theirs[r][key] for r in sorted(ours.keys() & theirs.keys()) if theirs[r][key]]


def _spread(values: List[float]) -> Optional[dict]:
    return {"median": median(values), "least": min(values), "most": max(values)} if values else None


def differences(samples: List[dict], load: str, target: str, other: str, key: str) -> Optional[dict]:
    """How much more a target has of something than another one, round by round; None when one was not measured."""
    ours, theirs = _by_round(samples, load, target), _by_round(samples, load, other)
    return _spread([ours[r][key] - theirs[r][key] for r in sorted(ours.keys() & theirs.keys())])


def summarize(samples: List[dict], yardsticks: Sequence[str] = ("bare", "nginx"),
              keys: Sequence[str] = KEYS) -> List[dict]:
    """A row for each load and target, in the order in which they were first measured."""
    rows = []
    for load, target in dict.fromkeys((s["load"], s["target"]) for s in samples):
        ours = _by_round(samples, load, target)
        row = {"load": load, "target": target, "rounds": len(ours)}
        row["failed"] = sum(s["failed"] for s in samples if (s["load"], s["target"]) == (load, target))
        for key in keys:
            row[key] = median(s[key] for s in ours.values()) if ours else None
        for other in yardsticks:
            theirs = _by_round(samples, load, other)
            if target != other:
                for key in ("cpu_us", "per_second", "p95_us"):
                    row[f"{key}_x_{other}"] = _spread(ratios(ours, theirs, key))
        rows.append(row)
    return rows


# -- pages --


def fill(page: str, mark: str, text: str) -> str:
    """Put a text between its marks, <!-- program: name --> and <!-- program: end -->; what people wrote around it stays."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- {mark.partition(':')[0]}: end -->"
    if page.count(begin) != 1:
        raise ValueError(f"the page has not one mark {begin.strip()}")
    before, _, rest = page.partition(begin)
    return before + begin + text + end + rest.partition(end)[2]


# -- printing --


def _time(us: Optional[float]) -> str:
    if us is None:
        return "-"
    return f"{us / 1000:.1f} ms" if us >= 9999.5 else f"{us / 1000:.2f} ms" if us >= 999.5 else f"{us:.0f} us"


def ratio(value: Optional[dict], with_range: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value['median']:.2f}" + (f" ({value['least']:.2f}-{value['most']:.2f})" if with_range else "")


def print_lines(heads: List[str], lines: List[List[str]]) -> None:
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    for name, *cells in [heads, *lines]:
        print("  " + "  ".join([name.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(cells, widths[1:]))]))


def cells(row: dict) -> List[str]:
    return [row["target"], f"{row['per_second']:,.0f}" if row["per_second"] else "-", _time(row["p50_us"]),
            _time(row["p95_us"]), _time(row["p99_us"]), str(row["failed"]),
            f"{row['cpu_us']:.2f} us" if row.get("cpu_us") else "-"]


def print_tables(rows: List[dict], loads: Dict[str, object]) -> None:
    heads = ["", "requests/s", "p50", "p95", "p99", "failed", "CPU/request"]
    for load in dict.fromkeys(row["load"] for row in rows):
        mine = [row for row in rows if row["load"] == load]
        print(f"\n{load}: {loads[load].what}")
        if load.startswith("ab-"):
            print_lines([*heads, "CPU x nginx", "req/s x nginx", "p95 x nginx"],
                        [[*cells(row), *(ratio(row.get(f"{key}_x_nginx"), key != "per_second")
                                          for key in ("cpu_us", "per_second", "p95_us"))] for row in mine])
        else:
            print_lines([*heads, "CPU x bare", "CPU x nginx"],
                        [[*cells(row), ratio(row.get("cpu_us_x_bare"), True), ratio(row.get("cpu_us_x_nginx"))]
                         for row in mine])
