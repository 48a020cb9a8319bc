"""The loads: how each is run, and what its generator says."""

import csv
import json
import os
import re
import time
from statistics import median
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

import processes
from servers import BODY, HERE, RAW, SCRATCH, Server


class Result(NamedTuple):
    requests: int  # answered
    seconds: float
    p50_us: float
    p95_us: float
    p99_us: float
    failed: int


PER_SECOND_MOST = 200_000  # more than ab can send
CLOCK_SET = 0.5  # seconds; wrk reads the time of day: when that is set meanwhile, its times are wrong by so much or more


class Wrk(NamedTuple):
    """One thread of wrk: every connection always has `depth` requests in flight."""

    connections: int
    depth: int
    what: str
    routes: int = 0  # paths that it takes in turn, see wrk.lua; 0: the one path, with no call of Lua for a request
    bodies: Tuple[bytes, ...] = ()  # posted in turn, one with each request
    content_type: str = RAW  # theirs
    close: bool = False  # a connection for each request
    targets = ("bare", "nginx", "uvicorn", "c-inline", "c-shard", "c-io0", "py-sync", "py-async", "bare-again")

    def run(self, url: str, cpus: Optional[Set[int]], seconds: int) -> Result:
        posted = self._write_bodies() if self.bodies else ""
        argv = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "10s",
                *(["-H", "Connection: close"] if self.close else []), "-s", str(HERE / "wrk.lua"), url, "--",
                str(self.depth), str(self.routes), posted]
        env = {**os.environ, "BENCH_CONNECTIONS": str(self.connections)}  # done() is not given wrk's arguments
        begun = time.monotonic()
        done = processes.run(argv, cpus, timeout=seconds + 60, env=env)
        took = time.monotonic() - begun
        line = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
        if done.returncode != 0 or line is None:
            raise RuntimeError(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
        said = json.loads(line)
        if abs(said["timed"] * self.depth - said["requests"]) > self.connections * self.depth + said["failed"]:
            raise RuntimeError(f"wrk.lua does not know how this wrk corrects latencies: {line}")
        if not seconds - CLOCK_SET < said["us"] / 1e6 < took + CLOCK_SET:
            print(f"bench: wrk says {said['us'] / 1e6:.1f} s, it was {took:.1f} s: once more", flush=True)
            return self.run(url, cpus, seconds)
        return Result(said["requests"], said["us"] / 1e6, said["p50"], said["p95"], said["p99"], said["failed"])


    def _write_bodies(self) -> str:
        """The file that wrk.lua reads."""
        SCRATCH.mkdir(parents=True, exist_ok=True)
        path = SCRATCH / "bodies"
        parts = [f"{self.content_type}\n".encode()]
        for body in self.bodies:
            parts += [b"%d\n" % len(body), body]
        path.write_bytes(b"".join(parts))
        return str(path)


def _number(text: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+([\d.]+)", text, re.MULTILINE)
    return float(found.group(1)) if found else 0


class Ab(NamedTuple):
    """ab, as the original work was measured: a number of requests, HTTP/1.0."""

    requests: Optional[int]  # None: as many as are answered in the load's seconds
    connections: int
    keep_alive: bool
    runs: int  # in a round: with keep-alive one is over in a tenth of a second
    what: str
    targets = ("nginx", "py", "py-14")

    def run(self, url: str, cpus: Optional[Set[int]], seconds: int) -> Result:
        """The runs' counts together, and the median of their times."""
        every = [self._run_once(url, cpus, seconds) for _ in range(self.runs)]
        middle = [median(times) for times in zip(*((r.p50_us, r.p95_us, r.p99_us) for r in every))]
        return Result(sum(r.requests for r in every), sum(r.seconds for r in every), *middle,
                      sum(r.failed for r in every))

    def _limit(self, seconds: int) -> List[str]:
        """-t means -n 50000 too, unless -n follows; ab makes a table of so many times before it begins.

        -l: handlers that say where they ran do not always answer as many bytes, which ab would count as failed.
        """
        if self.requests is None:
            return ["-l", "-t", str(seconds), "-n", str(seconds * PER_SECOND_MOST)]
        return ["-n", str(self.requests)]

    def _run_once(self, url: str, cpus: Optional[Set[int]], seconds: int) -> Result:
        SCRATCH.mkdir(parents=True, exist_ok=True)
        table = SCRATCH / "ab.csv"
        table.unlink(missing_ok=True)
        argv = ["ab", "-q", *self._limit(seconds), "-c", str(self.connections), "-e", str(table),
                *(["-k"] if self.keep_alive else []), url]
        begun = time.monotonic()
        done = processes.run(argv, cpus, timeout=120)
        if done.returncode != 0:  # ab gives up at the first connection that is reset: the run is lost as a whole
            print(f"bench: {' '.join(argv)}: {done.stderr.strip()}", flush=True)
            return Result(0, time.monotonic() - begun, 0, 0, 0, self.requests or 1)
        complete = int(_number(done.stdout, "Complete requests"))
        failed = _number(done.stdout, "Failed requests") + _number(done.stdout, "Non-2xx responses")
        if self.keep_alive:  # what was not kept alive is as bad
            failed += complete - _number(done.stdout, "Keep-Alive requests")
        with open(table, newline="") as file:
            rows = {row[0]: float(row[1]) * 1000 for row in list(csv.reader(file))[1:]}
        return Result(complete, _number(done.stdout, "Time taken for tests"), rows["50"], rows["95"], rows["99"],
                      int(failed) + (self.requests - complete if self.requests else 0))


def _ab(requests: int, connections: int, keep_alive: bool) -> Ab:
    return Ab(requests, connections, keep_alive, 5 if keep_alive else 1,
              f"ab {'-k ' if keep_alive else ''}-n {requests} -c {connections} /async")


LOADS: Dict[str, object] = {
    "c64": Wrk(64, 1, "wrk -t1 -c64"),
    "x16": Wrk(64, 16, "wrk -t1 -c64, 16 requests pipelined (latencies are of a whole batch)"),
    "c4": Wrk(4, 1, "wrk -t1 -c4"),
    **{f"ab-{n}-{c}{'-k' if k else ''}": _ab(n, c, k)
       for k in (False, True) for n, c in ((5000, 50), (10000, 100), (10000, 200))},
}


def measure(load, server: Server, path: str, cpus: processes.Cpus, seconds: int,
            expect: Optional[bytes] = BODY) -> Dict[str, float]:
    """Run a load once; the answer is what samples in the JSON file hold."""
    bodies = getattr(load, "bodies", ())
    server.check(path, expect, *((bodies[0], load.content_type) if bodies else ()))
    busy, client = processes.machine_busy_ns(), processes.children_ns()
    begun, before = time.monotonic(), processes.cpu_time(server.pid)
    result = load.run(server.url(path), cpus.load, seconds)
    cpu_ns = processes.cpu_between(before, processes.cpu_time(server.pid))
    spent = time.monotonic() - begun
    busy, client = processes.machine_busy_ns() - busy, processes.children_ns() - client
    return {
        **result._asdict(),
        "per_second": result.requests / result.seconds,
        "cpu_us": cpu_ns / 1000 / result.requests if result.requests else 0,
        "server_cpus": cpu_ns / 1e9 / spent,  # how many CPUs the server kept busy
        "load_cpus": client / 1e9 / spent,
        "other_cpus": max(0.0, (busy - client - cpu_ns) / 1e9 / spent),  # everybody else on the machine
    }
