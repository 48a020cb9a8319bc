"""Where a server listens, how connections spread, and what happens when file descriptors run out."""

import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Callable, List

import pytest

import harness
from harness import OK_BODY, Client, Server, request, wait_until

Start = Callable[..., Server]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")

# -- addresses --


def test_ipv4(start: Start, kind: str) -> None:
    server = start(kind, "--host", "127.0.0.1")
    assert server.port > 0
    assert server.get("/json").body == OK_BODY


@needs_ipv6
def test_ipv6(start: Start, kind: str) -> None:
    server = start(kind, "--host", "::1")
    assert server.address[0] == "::1"
    assert server.get("/json").body == OK_BODY


@needs_ipv6
def test_every_interface_is_ipv4_and_ipv6(start: Start, kind: str) -> None:
    server = start(kind, "--host", "")
    for host in ("127.0.0.1", "::1"):
        with Client((host, server.port)) as client:
            assert client.request().body == OK_BODY


def test_port_0_picks_free_ones(start: Start, kind: str) -> None:
    one, two = start(kind), start(kind)
    assert len({0, one.port, two.port}) == 3
    assert one.get("/json").body == two.get("/json").body == OK_BODY


@pytest.mark.parametrize("path", ["stale", "fresh"])
def test_unix_socket(start: Start, kind: str, tmp_path: Path, path: str) -> None:
    where = tmp_path / "socket"
    if path == "stale":  # what a server that was killed leaves behind
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(where))
    server = start(kind, "--host", f"unix:{where}")
    assert server.address == str(where)
    assert stat.S_ISSOCK(where.stat().st_mode)
    assert server.get("/json").body == OK_BODY
    server.stop()
    assert not where.exists()


def failing_start(kind: str, *flags: str) -> str:
    done = subprocess.run([*harness.COMMANDS[kind], *flags], capture_output=True, timeout=20)
    assert done.returncode == 1, done
    assert done.stdout == b""
    return done.stderr.decode()


def test_unix_socket_in_use_is_not_taken_over(start: Start, kind: str, tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/socket"
    server = start(kind, "--host", where)
    assert "in use" in failing_start(kind, "--host", where)
    assert server.get("/json").body == OK_BODY


def test_file_that_is_no_socket_is_left_alone(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    failing_start(kind, "--host", f"unix:{file}")
    assert file.read_text() == "mine"


def test_port_in_use_is_said(start: Start, kind: str) -> None:
    server = start(kind)
    assert "in use" in failing_start(kind, "--port", str(server.port))
    assert server.get("/json").body == OK_BODY


def test_bad_setting_is_named(kind: str) -> None:
    done = subprocess.run([*harness.COMMANDS[kind], "--port", "0", "--batch-max", "0"], capture_output=True, timeout=20)
    assert done.returncode != 0
    assert b"batch_max: 0 is out of range, allowed are 1 to 65536" in done.stderr


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_inherited_socket(start: Start, kind: str, family: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET if family == "tcp" else socket.AF_UNIX) as listener:
        listener.bind(("127.0.0.1", 0) if family == "tcp" else str(tmp_path / "socket"))
        listener.listen(100)
        address = listener.getsockname()
        waiting = Client(address)  # before there is a server
        waiting.send(request())
        server = start(kind, "--fd", str(listener.fileno()), pass_fds=[listener.fileno()])
    server.address = address
    assert waiting.answer().body == OK_BODY
    waiting.close()
    assert server.get("/json").body == OK_BODY
    server.stop()
    with pytest.raises(OSError):
        Client(address)


# -- spread --

SPREAD = {
    "two I/O threads": ("shards", "--io-threads", "2", "--shards", "2"),
    "two shards that do their own I/O": ("io0", "--io-threads", "0", "--shards", "2"),
}


def per_loop(monitor: Client) -> List[int]:
    return [io["connections"] for io in monitor.request("/stats").json()["io"]]


@pytest.mark.parametrize("topology", [SPREAD[name][0] for name in SPREAD], ids=list(SPREAD))
def test_connections_spread_evenly(start: Start, topology: str) -> None:
    (flags,) = [flags for flags in SPREAD.values() if flags[0] == topology]
    server = start(*flags)
    with server.client() as monitor:
        clients = [server.client() for _ in range(400)]
        wait_until(lambda: sum(per_loop(monitor)) == 401, "all accepted")
        counts = per_loop(monitor)
        assert max(counts) <= 1.25 * sum(counts) / len(counts) + 8, counts
        for client in clients:
            assert client.request().body == OK_BODY
            client.close()


@pytest.mark.parametrize("topology", [SPREAD[name][0] for name in SPREAD], ids=list(SPREAD))
def test_loop_with_too_many_passes_new_connections_on(start: Start, topology: str) -> None:
    (flags,) = [flags for flags in SPREAD.values() if flags[0] == topology]
    server = start(*flags)
    monitor = server.client()
    owned: List[List[Client]] = [[], []]
    for _ in range(120):  # one by one: the count that grows tells whose it is
        before = per_loop(monitor)
        client = server.client()
        wait_until(lambda: sum(per_loop(monitor)) == sum(before) + 1, "accepted")
        owned[0 if per_loop(monitor)[0] > before[0] else 1].append(client)
    full = 0 if len(owned[0]) >= len(owned[1]) else 1
    for client in owned[1 - full]:
        client.close()
    wait_until(lambda: per_loop(monitor)[1 - full] <= 1, "one loop is empty")
    kept = per_loop(monitor)[full]
    late = [server.client() for _ in range(16)]  # the kernel gives about half of them to the full loop
    wait_until(lambda: sum(per_loop(monitor)) >= kept + 16, "accepted")
    assert per_loop(monitor)[full] == kept
    for client in late + owned[full] + [monitor]:
        assert client.request().body == OK_BODY
        client.close()


# -- no file descriptors --


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind != "inline"])
def test_out_of_descriptors_neither_spins_nor_dies(start: Start, kind: str) -> None:
    server = start(kind, "--shards", "2", nofile=64)
    first = server.client()
    assert first.request().body == OK_BODY
    clients = [server.client() for _ in range(100)]  # the system takes them, the server cannot
    wait_until(lambda: first.request("/stats").json()["accept_errors"] > 0, "descriptors ran out")
    errors = first.request("/stats").json()["accept_errors"]
    cpu = server.cpu_seconds()
    time.sleep(1)  # the time in which it must do next to nothing
    assert server.cpu_seconds() - cpu < 0.3, "it spins"
    assert first.request("/stats").json()["accept_errors"] - errors < 100  # ten a second and loop, not thousands
    assert first.request().body == OK_BODY
    for client in clients:
        client.close()
    wait_until(lambda: first.request("/stats").json()["connections"] == 1, "the others have gone")
    for _ in range(30):
        assert server.get("/json").body == OK_BODY
    first.close()
    assert server.process.poll() is None


def test_idle_server_does_nothing(start: Start, kind: str) -> None:
    server = start(kind)
    with server.client() as client:
        assert client.request().body == OK_BODY
        cpu = server.cpu_seconds()
        time.sleep(1)
        assert server.cpu_seconds() - cpu <= 0.03
        assert client.request().body == OK_BODY
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_descriptors_and_threads_come_back(start: Start, kind: str) -> None:
    server = start(kind)

    def use() -> None:
        clients = [server.client() for _ in range(50)]
        for client in clients:
            assert client.request("/async").body == OK_BODY
            client.close()
        wait_until(lambda: server.stats()["connections"] == 1, "all closed")

    use()
    fds, threads = server.fds(), len(server.threads())
    for _ in range(3):
        use()
    wait_until(lambda: server.fds() <= fds, "descriptors are closed")
    assert len(server.threads()) == threads
    assert os.path.exists(f"/proc/{server.pid}")
