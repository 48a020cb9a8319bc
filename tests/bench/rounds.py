"""What the benchmarks share: their flags, servers that all run at once, and rounds in which each is measured once."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from servers import ROOT, Program, Server


def parser(doc: str, name: str, rounds: int, only: str, seconds: int = 1) -> argparse.ArgumentParser:
    """--only, --rounds (or NAME_ROUNDS), --seconds, and --json (build/NAME.json)."""
    out = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--only", default="", metavar="NAMES", help=f"{only}, comma-separated")
    out.add_argument("--rounds", type=int, default=int(os.environ.get(f"{name.upper()}_ROUNDS", rounds)),
                     help=f"default: {rounds}")
    out.add_argument("--seconds", type=int, default=seconds, help=f"length of each wrk load (default: {seconds})")
    out.add_argument("--json", type=Path, default=ROOT / f"build/{name}.json", metavar="PATH",
                     help=f"default: build/{name}.json")
    return out


def parse(flags: argparse.ArgumentParser, names: Iterable[str]) -> argparse.Namespace:
    """args.only is a list of words; each stands for one of the names, or for some."""
    args, names = flags.parse_args(), list(names)
    if args.rounds < 1 or args.seconds < 1:
        flags.error("--rounds and --seconds take numbers from 1")
    args.only = [word for word in args.only.split(",") if word]
    for word in args.only:
        if not chosen([word], names):
            flags.error(f"--only: {word} is none of {' '.join(names)}")
    return args


def chosen(words: List[str], names: Iterable[str]) -> List[str]:
    """Of the names those that a word is, or is the part of before a hyphen."""
    return [name for name in names if any(name == word or name.startswith(word + "-") for word in words)]


@contextlib.contextmanager
def serving(programs: Dict[str, Program], cpus: Optional[Set[int]] = None) -> Iterator[Dict[str, Server]]:
    """All of them, until the end."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, program in programs.items():
            servers[name] = Server(name, cpus, program=program)
            stack.callback(servers[name].stop)
        yield servers


def turns(todo: Dict[str, List[str]], rounds: int) -> List[Tuple[int, str, str]]:
    """Round by round; the order of the targets is turned on each time, so that none always comes first."""
    every = []
    for number in range(rounds):
        for load, targets in todo.items():
            first = number % len(targets) if targets else 0
            every += [(number, load, target) for target in targets[first:] + targets[:first]]
    return every


def show_progress(done: int, total: int, what: str) -> None:
    """One line that is written over on a terminal, else a line every tenth of the way."""
    if sys.stdout.isatty():
        line = f"bench: {done}/{total}  {what}" if done < total else ""
        print(f"\r{line:60}\r", end="", flush=True)
    elif done == total or done * 10 // total != (done - 1) * 10 // total:
        print(f"bench: {done}/{total}  {what}".rstrip(), flush=True)


def run(todo: Dict[str, List[str]], rounds: int, take: Callable[[str, str], Optional[dict]]) -> List[dict]:
    """take(load, target) is a sample, or None where there is none to be had."""
    samples, every = [], turns(todo, rounds)
    for done, (number, load, target) in enumerate(every):
        show_progress(done, len(every), f"round {number + 1}  {load} {target}")
        sample = take(load, target)
        if sample is not None:
            samples.append({"load": load, "target": target, "round": number, **sample})
    show_progress(len(every), len(every), "")
    return samples


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")


def finish(args: argparse.Namespace, about: dict, begun: float, **content) -> None:
    """Say what the run was, and write all of it; begun: time.monotonic() at its start."""
    here = about["machine"]
    print(f"\n{args.rounds} rounds in {time.monotonic() - begun:.0f} s on {os.cpu_count()} CPUs ({here['cpu']}); "
          f"load average {here['load_average']:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")
    write_json(args.json, {**about, "rounds": args.rounds, "seconds": args.seconds, **content})


def guarded(main: Callable[[], int]) -> int:
    """The exit status of a benchmark; what it started has ended by then."""
    try:
        return main()
    except KeyboardInterrupt:
        print("\nbench: interrupted; servers ended", file=sys.stderr)
        return 130
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1
