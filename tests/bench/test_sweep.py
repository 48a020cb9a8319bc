"""The sweep measures what it says, and its tables are complete. No figure is judged."""

import random

import pytest
import sweep
import sweep_report
from servers import ROOT


def sample(point: sweep.Point, **more) -> dict:
    figures = {"per_second": 1000.0, "p50_us": 1000.0, "p95_us": 2000.0, "cpu_us": 10.0, "busiest": 1.0, "failed": 0,
               "requests": 1000, "other_cpus": 0.1}
    return {**point._asdict(), **figures, **more}


def result_of(samples) -> dict:
    return {"samples": samples, "command": "make sweep", "date": "2026-01-01T00:00:00", "commit": "0" * 40,
            "seconds": 1, "took_s": 60, "load_averages": [0.1, 0.2], "versions": {},
            "machine": {"cpus": 2, "cpu": "a CPU", "system": "a system"}}


def named(only: str, **wanted) -> sweep.Point:
    return next(p for p in sweep.plan([only], True) if all(getattr(p, name) == value for name, value in wanted.items()))


def test_every_setting_meets_every_handler_and_load():
    for name, values in (("shards", 6), ("batch", 5), ("connections", 3), ("mode", 3)):
        assert len(set(sweep.plan([name], False))) == values * len(sweep.HANDLERS) * 3
    assert len(set(sweep.plan(["grid"], True))) == 4 * 3 * 3 * len(sweep.HANDLERS)
    assert not [p for p in sweep.plan([], False) if p.sweep == "grid"]


def test_defaults_of_all_sweeps_are_one_point():
    points = [p for p in sweep.plan([], True)
              if (p.handler, p.load, p.flags, p.connections) == ("async", "wrk", (), 100)]
    assert {p.sweep for p in points} == {"shards", "batch", "connections", "mode"}
    rows = sweep_report.rows([sample(p, per_second=float(n), failed=n) for n, p in enumerate(points)])
    assert [(row["per_second"], row["samples"], row["failed"]) for row in rows] == [(1.5, 4, 6)] * 4


def test_values_stand_in_order_whatever_order_they_were_measured_in():
    points = sweep.plan(["shards", "batch"], False)
    rows = sweep_report.rows([sample(p) for p in random.Random(1).sample(points, len(points))])
    assert list(dict.fromkeys(row["value"] for row in rows if row["sweep"] == "shards")) == list(sweep.SHARDS)
    assert list(dict.fromkeys(row["value"] for row in rows if row["sweep"] == "batch")) == list(sweep.BATCHES)


def test_tables_miss_no_point_and_show_failures():
    parts = sweep_report.parts(result_of([sample(p, failed=p.load == "ab") for p in sweep.plan([], True)]))
    assert not [name for name, text in parts.items() if "| - |" in text]
    assert len(parts["in-short"].splitlines()) == 2 + len(sweep_report.RATIOS)
    assert parts["shards"].count("failed") == len(sweep.HANDLERS) * len(sweep.SHARDS)


def test_page_keeps_its_words_and_takes_the_tables_again():
    page = (ROOT / "docs/results.md").read_text()
    result = result_of([sample(p) for p in sweep.plan([], True)])
    once = sweep_report.fill(page, result)
    assert sweep_report.fill(once, result) == once
    words = [line for line in page.splitlines() if line.startswith("#")]
    assert [line for line in once.splitlines() if line.startswith("#")] == words
    with pytest.raises(ValueError, match="mark"):
        sweep_report.fill(page.replace("<!-- sweep: noise -->", ""), result)


@pytest.mark.parametrize("load", ["ab", "ab -k", "wrk"])
def test_point_is_measured(load):
    measured = sweep.measure_point(named("mode", handler="block", load=load, value="sharded, 14 shards"), 1)
    assert measured["requests"] > 0 and measured["failed"] == 0 and measured["cpu_us"] > 0
    assert 1000 <= measured["p50_us"] <= measured["p95_us"]  # the handler sleeps for a millisecond


def test_one_route_stays_on_its_shard_and_sixteen_do_not():
    hot = sweep.measure_point(named("routes", value="route hash alone, 1", handler="sync"), 1)
    many = sweep.measure_point(named("routes", value="route hash alone, 16", handler="sync"), 1)
    assert hot["busiest"] == 1 and many["busiest"] < 1
    assert hot["failed"] == many["failed"] == 0
