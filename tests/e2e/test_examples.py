"""The other examples: each serves what the comment at its top says."""

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

import pytest

from harness import EXAMPLES, TIMEOUT, Client, load, request, wait_until


def listening_port(pid: int) -> int:
    """The TCP port that a process listens on, from /proc; 0 while there is none."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(fd))
        except FileNotFoundError:
            pass
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            return int(fields[1].rpartition(":")[2], 16)
    return 0


class Example:
    """An example on a free port. Looks like a harness.Server to load()."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.stderr)
        wait_until(lambda: self.process.poll() is not None or listening_port(self.process.pid), "listening")
        assert self.process.poll() is None, self.errors()
        self.address = ("127.0.0.1", listening_port(self.process.pid))

    def errors(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def client(self) -> Client:
        return Client(self.address)

    def get(self, target: str) -> bytes:
        with self.client() as client:
            answer = client.request(target)
        assert answer.status == 200
        return answer.body

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self) -> None:
        assert self.process.wait(TIMEOUT) == 0, self.errors()
        assert self.errors() == ""

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.wait()


@pytest.fixture
def run() -> Iterator:
    """run(name, flags...) starts an example; what still runs at the end is stopped and must end well."""
    started: List[Example] = []

    def run(name: str, *flags: str) -> Example:
        started.append(Example([str(EXAMPLES / name), "127.0.0.1:0", *flags]))
        return started[-1]

    yield run
    for example in started:
        if example.process.returncode is None:
            example.stop()
        example.process.stdin.close()
        example.stderr.close()


# -- hello.c --


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_hello(run, number: int) -> None:
    hello = run("hello")
    assert hello.get("/") == b"Hello, world\n"
    with hello.client() as client:
        assert client.request("/other").status == 404
    hello.stop(number)


def test_hello_says_what_is_wrong() -> None:
    done = subprocess.run([EXAMPLES / "hello", "nowhere"], capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 1 and done.stderr.startswith(b"hello: nowhere: ")


# -- batch.c: a handler that gets all requests that arrived together --


def sizes(answers: Sequence[bytes]) -> List[int]:
    seen = [re.fullmatch(rb"number (\d+) of a batch of (\d+)\n", body) for body in answers]
    assert all(found and 1 <= int(found[1]) <= int(found[2]) <= 32 for found in seen), answers
    return [int(found[2]) for found in seen if found]


def test_batch_of_pipelined_posts_is_one(run) -> None:
    with run("batch").client() as client:
        client.send(request("/predict", "POST") * 20)
        assert sizes([client.answer("POST").body for _ in range(20)]) == [1] * 20


def test_batch_of_many_connections(run) -> None:
    batch = run("batch")
    clients = [batch.client() for _ in range(40)]
    for client in clients:
        client.send(request("/predict", "POST"))
    seen = sizes([client.answer("POST").body for client in clients])
    assert max(seen) > 1  # they waited up to 2 ms for each other
    assert all(seen.count(size) % size == 0 for size in set(seen)), seen
    for client in clients:
        client.close()


def test_batch_of_one_does_not_wait_for_ever(run) -> None:
    with run("batch").client() as client:
        assert client.request("/predict", "POST").body == b"number 1 of a batch of 1\n"


# -- own_executor.c: a pool of four threads that all shards share --


def test_own_executor_uses_its_four_threads(run) -> None:
    pool = run("own_executor")
    bodies = {body for _, body in load(pool, "/work", connections=40, requests=5)}
    assert bodies == {b"done by thread %d of the pool\n" % n for n in (1, 2, 3, 4)}


def test_own_executor_answers_what_it_has_at_a_stop(run) -> None:
    pool = run("own_executor")
    clients = [pool.client() for _ in range(30)]
    for client in clients:
        client.send(request("/work"))
    pool.process.send_signal(signal.SIGTERM)
    for client in clients:
        assert client.answer().status == 200
        client.expect_end()
        client.close()
    pool.wait()


# -- embed_loop.c: a driven shard inside the program's own poll() loop --


@pytest.fixture(params=["1", "0"], ids=["an I/O thread", "no I/O thread"])
def embedded(request: pytest.FixtureRequest, run) -> Example:
    example = run("embed_loop", "--io-threads", request.param)
    example.io_threads = int(request.param)
    return example


def status_of(example: Example) -> dict:
    text = example.get("/").decode()
    assert re.fullmatch(r"ticks \d+, lines \d+, requests \d+\n", text)
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", text)}


def say(example: Example, text: str) -> None:
    example.process.stdin.write(text.encode())
    example.process.stdin.flush()


def test_embed_loop_serves_beside_its_own_work(embedded: Example) -> None:
    assert status_of(embedded)["requests"] == 1
    say(embedded, "one\ntwo\nth")
    say(embedded, "ree\n")
    wait_until(lambda: status_of(embedded)["lines"] == 3, "three lines read")
    ticks = status_of(embedded)["ticks"]
    wait_until(lambda: status_of(embedded)["ticks"] >= ticks + 3, "its timer goes on")


def test_embed_loop_has_the_threads_it_says(embedded: Example) -> None:
    """With io_threads 0 the library makes none for connections: only that which leads the stop."""
    names = sorted(p.read_text().strip() for p in Path(f"/proc/{embedded.process.pid}/task").glob("*/comm"))
    assert names == sorted(["embed_loop", "turbo-control"] + ["turbo-io-0"] * embedded.io_threads)


def test_embed_loop_answers_late_by_the_shards_timer(embedded: Example) -> None:
    start = time.monotonic()
    assert embedded.get("/late") == b"late\n"
    assert time.monotonic() - start >= 0.019
    with embedded.client() as client:
        client.send(request("/late") + request("/") + request("/late"))
        assert client.answer().body == b"late\n"
        assert client.answer().body.startswith(b"ticks")
        assert client.answer().body == b"late\n"


def test_embed_loop_under_load(embedded: Example) -> None:
    assert {status for status, _ in load(embedded, "/", connections=50, requests=40, depth=2)} == {200}
    assert {body for _, body in load(embedded, "/late", connections=50, requests=4)} == {b"late\n"}
    assert status_of(embedded)["requests"] == 2001


def test_embed_loop_does_not_spin(embedded: Example) -> None:
    with embedded.client() as client:
        assert client.request("/late").body == b"late\n"
        cpu = embedded.cpu_seconds()
        time.sleep(1)
        assert embedded.cpu_seconds() - cpu < 0.1  # its ticks, ten a second
        assert client.request("/late").body == b"late\n"


@pytest.mark.parametrize("by", ["SIGTERM", "SIGINT", "quit"])
def test_embed_loop_ends_when_it_has_answered(embedded: Example, by: str) -> None:
    clients = [embedded.client() for _ in range(20)]
    for client in clients:
        client.send(request("/late"))
    if by == "quit":
        say(embedded, "quit\n")
    else:
        embedded.process.send_signal(getattr(signal, by))
    for client in clients:
        assert client.answer().body == b"late\n"
        client.expect_end()
        client.close()
    embedded.wait()


def test_embed_loop_goes_on_without_standard_input(embedded: Example) -> None:
    embedded.process.stdin.close()
    cpu: Optional[float] = embedded.cpu_seconds()
    time.sleep(0.5)
    assert embedded.cpu_seconds() - cpu < 0.1
    assert status_of(embedded)["requests"] == 1
