"""The benchmark of batch handlers measures what it says, and writes what it measured. No figure is judged."""

import json
import struct

import bench_batch
import pytest
import report
import rounds
from servers import ROOT

TARGETS = [f"{model} {how}" for model in bench_batch.MODELS for how in bench_batch.PATHS]


def sample(load: str, target: str, **more) -> dict:
    figures = {"per_second": 1000.0, "p50_us": 1000.0, "p95_us": 2000.0, "p99_us": 3000.0, "cpu_us": 10.0, "rows": 2.0,
               "requests": 1000, "failed": 0, "load_cpus": 0.1, "other_cpus": 0.1}
    return {"load": load, "target": target, "round": 0, **figures, **more}


def every(**more) -> list:
    return [sample(load, target, **more) for load in bench_batch.LOADS for target in TARGETS]


def result_of(samples) -> dict:
    return {"samples": samples, "summary": bench_batch.summarize(samples), "date": "2026-01-01T00:00:00", "commit": "0" * 40,
            "rounds": 1, "seconds": 1, "versions": {"python": "Python 3"},
            "machine": {"cpus": 2, "cpu": "a CPU", "system": "a system"}}


def test_rows_are_the_same_in_both_formats():
    for raw, text in zip(bench_batch.rows(32, False), bench_batch.rows(32, True)):
        assert struct.unpack("<32f", raw) == pytest.approx(json.loads(text), abs=1e-6)
    assert len(set(bench_batch.rows(32, False))) == bench_batch.ROWS


def test_tables_miss_no_point_and_show_failures():
    text = bench_batch.markdown(bench_batch.summarize(every(failed=1)))
    assert text.count("failed**") == len(bench_batch.LOADS) * len(TARGETS)
    assert "| - |" not in text


def test_goal_is_judged_where_it_is_set():
    faster = [dict(s, per_second=5000.0 if s["target"] == "linear batch" else 4990.0 if s["target"] == "forest batch" else 1000.0)
              for s in every()]
    assert [good for _, good in bench_batch.goals(bench_batch.summarize(faster))] == [True, False, False]


def test_page_keeps_its_words_and_takes_the_tables_again():
    page = (ROOT / "docs/benchmarks.md").read_text()
    result = result_of(every())
    text = bench_batch.about_run(result) + bench_batch.markdown(result["summary"])
    once = report.fill(page, "bench-batch: figures", text)
    assert report.fill(once, "bench-batch: figures", text) == once
    assert [line for line in once.splitlines() if line[:1] == "#"] == [line for line in page.splitlines() if line[:1] == "#"]


@pytest.mark.parametrize("load", ["c16", "json"])
def test_point_is_measured(load):
    with rounds.serving({"light": bench_batch.program("light")}) as servers:
        one, batch, wait = (bench_batch.measure_calls(servers["light"], bench_batch.LOADS[load], "light", how, 1)
                            for how in bench_batch.PATHS)
    for measured in (one, batch, wait):
        assert measured["requests"] > 0 and measured["failed"] == 0 and measured["cpu_us"] > 0
    assert one["rows"] == 1 and batch["rows"] >= 1 and wait["rows"] > 1
