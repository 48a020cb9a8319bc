"""Processes of a benchmark: started on chosen CPUs, their CPU time read, ended in any case."""

import contextlib
import ctypes
import os
import signal
import subprocess
from typing import Dict, List, NamedTuple, Optional, Sequence, Set

PR_SET_PDEATHSIG = 1
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)


class Cpus(NamedTuple):
    """Where servers and load generators run; None: wherever the kernel puts them."""

    server: Optional[Set[int]]
    load: Optional[Set[int]]


def choose_cpus(pin: bool) -> Cpus:
    """One CPU for servers and another for the load, if there are two and pinning is wanted."""
    cpus = sorted(os.sched_getaffinity(0))
    return Cpus({cpus[0]}, {cpus[1]}) if pin and len(cpus) > 1 else Cpus(None, None)


def start(argv: Sequence[str], cpus: Optional[Set[int]], **options) -> subprocess.Popen:
    """Start a program in a session of its own: Ctrl-C reaches only the benchmark, which then ends what it started."""

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # also when the benchmark itself is killed
        if cpus:
            os.sched_setaffinity(0, cpus)

    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=prepare, **options
    )


def unwind_on_signals() -> None:
    """Make SIGINT and SIGTERM raise KeyboardInterrupt: what was started is ended on the way out."""

    def unwind(number, frame) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, unwind)


def end(process: subprocess.Popen, pid: int = 0, seconds: float = 20) -> None:
    """SIGTERM to the process, or to the one that it runs and will end with; SIGKILL when that is not enough."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or process.pid, signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def run(argv: Sequence[str], cpus: Optional[Set[int]], timeout: float, **options) -> subprocess.CompletedProcess:
    """Run a program to its end; ends it when this is interrupted."""
    process = start(argv, cpus, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


# -- CPU time --


class CpuTime(NamedTuple):
    """User and system time of a process and its children: exact by thread, and as the kernel rounds it."""

    threads: Dict[int, int]  # thread id -> nanoseconds it has run
    rounded_ns: int


def children(pid: int) -> List[int]:
    pids = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as file:
            pids += map(int, file.read().split())
    return pids


def tree(pid: int) -> List[int]:
    """A process and all below it."""
    return [pid] + [below for child in children(pid) for below in tree(child)]


def _signal(pids: List[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_left(pids: List[int]) -> None:
    """SIGKILL to what outlived the process that had started it."""
    _signal(pids, signal.SIGKILL)


def freeze(pids: List[int]) -> None:
    """They use no CPU time until wake(): servers that poll when they are idle would disturb what is measured."""
    _signal(pids, signal.SIGSTOP)


def wake(pids: List[int]) -> None:
    _signal(pids, signal.SIGCONT)


def cpu_time(pid: int) -> CpuTime:
    threads, ticks = {}, 0
    for process in tree(pid):
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime: of ended threads, too
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/schedstat") as file:
                threads[int(thread)] = int(file.read().split()[0])
    return CpuTime(threads, ticks * TICK_NS)


def cpu_between(before: CpuTime, after: CpuTime) -> int:
    """Nanoseconds. utime and stime count in ticks of 10 ms, so the threads' own counters are used unless one ended."""
    if before.threads.keys() - after.threads.keys():
        return after.rounded_ns - before.rounded_ns
    return sum(after.threads.values()) - sum(before.threads.values())


def machine_busy_ns() -> int:
    """CPU time that all programs together, and the hypervisor's other guests, have had."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_NS


def children_ns() -> int:
    """CPU time of the children that were waited for: load generators, once they have ended."""
    times = os.times()
    return int((times.children_user + times.children_system) * 1_000_000_000)
