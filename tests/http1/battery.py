#!/usr/bin/env python3
"""Put a server through the HTTP/1.1 cases. See README.md beside this file.

    battery.py --demo c-shards | c-inline | c-io0 | python
    battery.py --peer nginx | go | uvicorn | uvicorn-h11
    battery.py --target HOST:PORT [--has body-limit,turbo-limits,timeouts,trailers]
"""

import argparse
import fnmatch
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

from cases import all_cases
from model import MAY, MUST, OK_BODY, SHOULD, Case, Outcome, req
from wire import Wire

CONNECTIONS = 24  # at once
LATER = "a response came when the connection was to end"
PROBE = req("/json?probe")


class Result(NamedTuple):
    case: Case
    verdict: str  # pass, fail, n/a
    why: str
    sent: bytes
    got: str


# -- judging one case --


def fault_of(outcome: Outcome, wire: Wire) -> Optional[str]:
    """What the responses so far lack, or have too much, for this outcome."""
    seen = wire.stream.responses
    for i, wanted in enumerate(outcome.responses):
        if i >= len(seen):
            return f"{len(seen)} responses, not {len(outcome.responses)}"
        fault = wanted.fault(seen[i])
        if fault:
            return f"response {i + 1}: {fault}"
    if len(seen) > len(outcome.responses):
        return f"{len(seen)} responses, not {len(outcome.responses)}: {seen[len(outcome.responses)]}"
    return outcome.together(seen) if outcome.together else None


def is_beginning(outcome: Outcome, wire: Wire) -> bool:
    """The responses so far are right; more must come."""
    seen = wire.stream.responses
    return len(seen) < len(outcome.responses) and not any(w.fault(r) for w, r in zip(outcome.responses, seen))


def gather(case: Case, wire: Wire) -> List[Outcome]:
    """Read until an outcome's responses are here, or no outcome can be met any more. @return those that fit."""
    shortest = min(len(outcome.responses) for outcome in case.outcomes)
    wire.wait(shortest)
    while True:
        wire.settle()
        fitting = [outcome for outcome in case.outcomes if fault_of(outcome, wire) is None]
        if fitting or wire.ended or wire.stream.error:
            return fitting
        longer = [len(outcome.responses) for outcome in case.outcomes if is_beginning(outcome, wire)]
        if not longer or not wire.wait(min(longer)):
            return [outcome for outcome in case.outcomes if fault_of(outcome, wire) is None]


def stays_open(wire: Wire) -> Optional[str]:
    """A further request must be answered. @return why it was not."""
    count = len(wire.stream.responses)
    wire.stream.methods += ["GET"] * (count + 1 - len(wire.stream.methods))
    sent = len(wire.sent)
    wire.send(PROBE)
    del wire.sent[sent:]
    if not wire.wait(count + 1):
        return "the connection was ended" if wire.ended else "a further request got no answer"
    answer = wire.stream.responses.pop()
    if answer.status != 200 or answer.body != OK_BODY or len(wire.stream.responses) != count:
        return f"a further request got {answer}"
    return None


def judge_end(fitting: Sequence[Outcome], wire: Wire) -> Optional[str]:
    ends = {outcome.end for outcome in fitting}
    count = len(wire.stream.responses)
    last = wire.stream.responses[-1] if count else None
    if last is not None and "close" in last.tokens("Connection"):
        if not wire.wait_end():
            return "said Connection: close, but did not close"
        ends.discard("open")
    if "any" in ends:
        return None
    if wire.ended or "open" not in ends:
        if "closed" not in ends:
            return "the connection was ended"
        if not wire.wait_end():
            return "the connection was not ended"
        return None if len(wire.stream.responses) == count else LATER
    return stays_open(wire)


def judge_whole(case: Case, wire: Wire) -> Optional[str]:
    """The connection has ended, and no more can come."""
    ended = {"open": "the connection was ended"}
    faults = [fault_of(outcome, wire) or ended.get(outcome.end, "") for outcome in case.outcomes]
    return None if "" in faults else "; or ".join(dict.fromkeys(faults))


def judge(case: Case, wire: Wire) -> Optional[str]:
    """@return why it failed."""
    step_fault = wire.run(case.steps)
    if step_fault and step_fault.startswith("cut behind"):
        return step_fault
    fitting = gather(case, wire)
    for i, response in enumerate(wire.stream.responses[:-1]):
        if "close" in response.tokens("Connection"):
            return f"response {i + 1} said Connection: close, and another one followed"
    if wire.stream.error:
        return f"malformed: {wire.stream.error}"
    if not fitting:
        faults = list(dict.fromkeys(fault_of(outcome, wire) or "" for outcome in case.outcomes))
        return "; or ".join(faults[:3])
    fault = judge_end(fitting, wire)
    if fault == LATER:  # a late answer, then the end: it is judged with what it brought
        return judge_whole(case, wire)
    return f"malformed: {wire.stream.error}" if wire.stream.error and not fault else fault


def describe(wire: Wire) -> str:
    shown = [str(response) for response in wire.stream.responses[:6]]
    if len(wire.stream.responses) > 6:
        shown.append(f"and {len(wire.stream.responses) - 6} more")
    shown += [f"[{interim.status}]" for interim in wire.stream.interim]
    if wire.stream.data:
        shown.append(f"and {bytes(wire.stream.data[:80])!r}")
    end = "reset" if wire.reset else "ended" if wire.ended else "open"
    return f"{' '.join(shown) or 'nothing'}, {end}"


def run_case(case: Case, address: Tuple[str, int], has: FrozenSet[str]) -> Result:
    if not case.needs <= has:
        return Result(case, "n/a", f"needs {', '.join(sorted(case.needs - has))}", b"", "")
    wire = Wire(address, case.methods)
    try:
        why = judge(case, wire)
        return Result(case, "fail" if why else "pass", why or "", bytes(wire.sent), describe(wire))
    finally:
        wire.close()


# -- a whole run --


def run_all(cases: Sequence[Case], address: Tuple[str, int], has: FrozenSet[str]) -> List[Result]:
    # The slow ones first, so that nothing is left at the end that the others could have hidden.
    order = sorted(cases, key=lambda case: ("timeouts" not in case.needs, case.id))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        results = list(pool.map(lambda case: run_case(case, address, has), order))
    return sorted(results, key=lambda result: cases.index(result.case))


def counts(results: Sequence[Result], level: str) -> Tuple[int, int]:
    counted = [result for result in results if result.case.level == level and result.verdict != "n/a"]
    return sum(result.verdict == "pass" for result in counted), len(counted)


def clip(data: bytes, limit: int = 400) -> str:
    text = repr(data)
    return text if len(text) <= limit else f"{text[: limit - 60]}... ({len(data)} bytes) ...{text[-50:]}"


def print_failure(result: Result) -> None:
    case = result.case
    print(f"\n{case.level} {case.id} (RFC {case.rfc}){': ' + case.note if case.note else ''}")
    print(f"  sent {clip(result.sent)}\n  got  {result.got}\n  {result.why}")


def summary(name: str, results: Sequence[Result]) -> Dict:
    required, advisory = counts(results, MUST), counts(results, SHOULD)
    return {
        "target": name,
        "required": {"passed": required[0], "total": required[1]},
        "advisory": {"passed": advisory[0], "total": advisory[1]},
        "not_applicable": sum(result.verdict == "n/a" for result in results),
        "results": [
            {"id": r.case.id, "rfc": r.case.rfc, "level": r.case.level, "verdict": r.verdict, "why": r.why,
            "got": r.got,
             "sent": r.sent[:2000].decode("latin-1")}
            for r in results
        ],
    }


def report(name: str, results: Sequence[Result], seconds: float, brief: bool) -> None:
    if not brief:
        for level in (MUST, SHOULD, MAY):
            for result in results:
                if result.verdict == "fail" and result.case.level == level:
                    print_failure(result)
        print()
    required, advisory = counts(results, MUST), counts(results, SHOULD)
    print(f"{name}: required {required[0]}/{required[1]}, advisory {advisory[0]}/{advisory[1]}, "
          f"not applicable {sum(result.verdict == 'n/a' for result in results)}, {seconds:.0f} s", flush=True)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", default=[], metavar="HOST:PORT", help="a server that runs already")
    parser.add_argument("--demo", action="append", default=[],
        help="a demo to start: c-shards, c-inline, c-io0, python; or all")
    parser.add_argument("--peer", action="append", default=[],
        help="another server to start: nginx, go, uvicorn, uvicorn-h11; or all")
    parser.add_argument("--has", default="", help="what a --target has: body-limit,turbo-limits,timeouts,trailers")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN",
        help="ids to run, as framing.* (repeatable)")
    parser.add_argument("--json", metavar="FILE", help="write all results")
    parser.add_argument("--brief", action="store_true", help="counts only")
    parser.add_argument("--list", action="store_true", help="list the cases")
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    patterns = arguments.only or ["*"]
    cases = [case for case in all_cases() if any(fnmatch.fnmatch(case.id, pattern) for pattern in patterns)]
    if arguments.list:
        for case in cases:
            print(f"{case.level:6} {case.id:50} RFC {case.rfc}  {case.note}")
        return 0
    from servers import start_all

    runs: List[Dict] = []
    failed = False
    for server in start_all(arguments.target, arguments.demo, arguments.peer, arguments.has):
        with server:
            start = time.monotonic()
            results = run_all(cases, server.address, server.has)
            report(server.name, results, time.monotonic() - start, arguments.brief)
        runs.append(summary(server.name, results))
        failed = failed or any(result.verdict == "fail" and result.case.level == MUST for result in results)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump(runs, out, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
