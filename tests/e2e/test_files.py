"""Files of a directory: whole, in part, not changed; what is tried to leave it; files and clients that go away meanwhile."""

import email.parser
import os
import socket
import threading
import time
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

import harness
from harness import Answer, Client, Server, request, wait_until

MIB = 1 << 20
BYTES = bytes(i * 7 % 251 for i in range(1000000))
BIG = 200 * MIB
MARKS = [0, 1, 65535, 65536, 5 * MIB + 3, 128 * MIB - 1, 128 * MIB, BIG - 1]  # places in the big file that are not 0
OLD = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to serve, beside files that must not be."""
    top = tmp_path_factory.mktemp("files")
    root = top / "www"
    (root / "sub").mkdir(parents=True)
    (top / "secret").write_text("SECRET")
    (root / "data.bin").write_bytes(BYTES)
    (root / "a.txt").write_text("0123456789")
    (root / "empty").write_bytes(b"")
    (root / "sub/index.html").write_text("index")
    (root / ".hidden").write_text("SECRET")
    (root / "in").symlink_to("a.txt")
    for name, target in (("out", "../secret"), ("passwd", "/etc/passwd"), ("up", ".."), ("proc", "/proc/self/root")):
        (root / name).symlink_to(target)
    with open(root / "big", "wb") as big:
        big.truncate(BIG)
        for at in MARKS:
            big.seek(at)
            big.write(b"\xaa")
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD), follow_symlinks=False)
    strong = time.time() + 2
    wait_until(lambda: time.time() >= strong, "ETags are strong")
    return root


@pytest.fixture(scope="module")
def server(kind: str, tree: Path) -> Iterator[Server]:
    server = harness.demo(kind, "--files", str(tree))
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client


def get(client: Client, name: str, *fields: str, method: str = "GET") -> Answer:
    return client.request(f"/files/{name}", method, fields)


# -- whole and in part --


def test_whole_files(client: Client) -> None:
    answer = get(client, "data.bin")
    assert (answer.status, answer.body) == (200, BYTES)
    assert answer.get("Last-Modified") == DATE and answer.get("Accept-Ranges") == "bytes"
    assert answer.get("ETag").startswith('"') and answer.get("Content-Type") == "application/octet-stream"
    assert get(client, "a.txt").get("Content-Type") == "text/plain; charset=utf-8"
    assert get(client, "empty").body == b""


@pytest.mark.parametrize("name, size", [("data.bin", 1000000), ("a.txt", 10), ("empty", 0)])
def test_head_is_get_without_its_body(client: Client, name: str, size: int) -> None:
    whole, head = get(client, name), get(client, name, method="HEAD")
    drop = ("Date",)
    assert [f for f in head.fields if f[0] not in drop] == [f for f in whole.fields if f[0] not in drop]
    assert head.get("Content-Length") == str(size) and head.status == 200
    assert get(client, name, "Range: bytes=0-0", method="HEAD").status == 200  # Range is for GET


@pytest.mark.parametrize(
    "spec, first, last",
    [
        ("0-0", 0, 0), ("0-999999", 0, 999999), ("0-1000000", 0, 999999), ("999999-", 999999, 999999), ("5-", 5, 999999),
        ("-1", 999999, 999999), ("-1000000", 0, 999999), ("-99999999999999999999999", 0, 999999),
        ("250000-749999", 250000, 749999), ("0-99999999999999999999999", 0, 999999), ("100-100,5000000-", 100, 100),
        ("10-20,15-30", 10, 30),
    ],
)
def test_one_range(client: Client, spec: str, first: int, last: int) -> None:
    answer = get(client, "data.bin", f"Range: bytes={spec}")
    assert (answer.status, answer.get("Content-Range")) == (206, f"bytes {first}-{last}/1000000")
    assert answer.body == BYTES[first : last + 1]
    assert answer.get("ETag") and answer.get("Last-Modified") == DATE


def parts_of(answer: Answer) -> List[Tuple[str, str, bytes]]:
    """Content-Range, Content-Type and bytes of each part, by Python's own reader of MIME and by the ranges."""
    kind = answer.get("Content-Type")
    assert kind.startswith("multipart/byteranges; boundary=")
    message = email.parser.BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + answer.body)
    assert message.is_multipart() and not message.defects
    found, at = [], 0
    for part in message.get_payload():
        at = answer.body.index(b"\r\n\r\n", at) + 4
        first, last = map(int, part["Content-Range"].split()[1].split("/")[0].split("-"))
        found.append((part["Content-Range"], part["Content-Type"], answer.body[at : at + last - first + 1]))
        at += last - first + 1
        assert answer.body[at : at + 4] == b"\r\n--"
    assert answer.body.endswith(b"--\r\n")
    return found


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 9), (500, 509), (999990, 999999)],
        [(900000, 999999), (0, 299999), (400000, 400000)],
        [(i * 60000, i * 60000 + 50000) for i in range(16)],
    ],
)
def test_several_ranges(client: Client, ranges: List[Tuple[int, int]]) -> None:
    answer = get(client, "data.bin", "Range: bytes=" + ", ".join(f"{a}-{b}" for a, b in ranges))
    assert answer.status == 206 and answer.get("Content-Range") is None
    expected = [(f"bytes {a}-{b}/1000000", "application/octet-stream", BYTES[a : b + 1]) for a, b in ranges]
    assert parts_of(answer) == expected
    assert get(client, "a.txt").body == b"0123456789"  # the connection goes on


def test_more_than_sixteen_ranges_are_the_whole(client: Client) -> None:
    answer = get(client, "data.bin", "Range: bytes=" + ",".join(f"{i * 50000}-{i * 50000 + 9}" for i in range(17)))
    assert (answer.status, answer.body) == (200, BYTES)
    answer = get(client, "data.bin", "Range: bytes=" + ",".join(["0-"] * 16))
    assert (answer.status, answer.get("Content-Range")) == (206, "bytes 0-999999/1000000")


@pytest.mark.parametrize("spec", ["bytes=1000000-", "bytes=-0", "bytes=99999999999999999999-", "bytes=2000000-,3000000-"])
def test_ranges_that_cannot_be_satisfied(client: Client, spec: str) -> None:
    answer = get(client, "data.bin", f"Range: {spec}")
    assert (answer.status, answer.get("Content-Range")) == (416, "bytes */1000000")


@pytest.mark.parametrize("spec", ["bytes=", "bytes=5-3", "bytes=a-b", "lines=0-1", "bytes 0-1", "bytes=0-1;", "bytes=0-1,x"])
def test_ranges_that_are_none(client: Client, spec: str) -> None:
    answer = get(client, "data.bin", f"Range: {spec}")
    assert (answer.status, answer.body) == (200, BYTES)


# -- preconditions --


@pytest.mark.parametrize(
    "fields, status",
    [
        (["If-None-Match: {etag}"], 304), (["If-None-Match: W/{etag}"], 304), (["If-None-Match: \"x\", {etag}"], 304),
        (["If-None-Match: *"], 304), (['If-None-Match: "x"'], 200), (["If-Match: {etag}"], 200), (['If-Match: "x"'], 412),
        (["If-Match: W/{etag}"], 412), (["If-Match: *"], 200), ([f"If-Modified-Since: {DATE}"], 304),
        ([f"If-Modified-Since: {BEFORE}"], 200), (["If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], 304),
        (["If-Modified-Since: Sun Nov  6 08:49:37 1994"], 304), (["If-Modified-Since: now"], 200),
        ([f"If-Unmodified-Since: {BEFORE}"], 412), ([f"If-Unmodified-Since: {DATE}"], 200),
        (['If-None-Match: "x"', f"If-Modified-Since: {DATE}"], 200), (["If-Match: {etag}", f"If-Unmodified-Since: {BEFORE}"], 200),
        (['If-Match: "x"', "If-None-Match: {etag}"], 412), (["If-None-Match: {etag}", "Range: bytes=0-0"], 304),
        (['If-Match: "x"', "Range: bytes=0-0"], 412), (["Range: bytes=0-0", "If-Range: {etag}"], 206),
        (["Range: bytes=0-0", "If-Range: W/{etag}"], 200), (["Range: bytes=0-0", 'If-Range: "x"'], 200),
        (["Range: bytes=0-0", f"If-Range: {DATE}"], 206), (["Range: bytes=0-0", f"If-Range: {BEFORE}"], 200),
        (["Range: bytes=9999999-", 'If-Range: "x"'], 200), (['If-Range: "x"'], 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_preconditions(client: Client, method: str, fields: List[str], status: int) -> None:
    etag = get(client, "data.bin", method="HEAD").get("ETag")
    answer = get(client, "data.bin", *(field.format(etag=etag) for field in fields), method=method)
    assert answer.status == (200 if status == 206 and method == "HEAD" else status)
    if status == 304:
        assert answer.get("ETag") == etag and answer.body == b"" and answer.get("Content-Type") is None


def test_a_changed_file_is_another(client: Client, tree: Path) -> None:
    path = tree / "changes"
    path.write_text("one")
    os.utime(path, (OLD, OLD))
    etag = get(client, "changes").get("ETag")
    assert etag.startswith("W/")  # it may change again within the same time
    path.write_text("two, longer")
    os.utime(path, (OLD, OLD))
    assert get(client, "changes", f"If-None-Match: {etag}").body == b"two, longer"
    assert get(client, "changes", f"If-Range: {etag}", "Range: bytes=0-0").status == 200


# -- the root --


@pytest.mark.parametrize(
    "name",
    [
        "../secret", "%2e%2e/secret", "%2E%2E%2Fsecret", "..%2fsecret", "..%5csecret", "..\\secret", ".%2e/secret", "./a.txt",
        "sub/../../secret", "sub/%2e%2e/%2e%2e/secret", "%252e%252e/secret", "/etc/passwd", "//etc/passwd", "%2fetc/passwd",
        "out", "passwd", "up/secret", "up/www/a.txt", "proc/etc/passwd", ".hidden", "%2ehidden", "sub/./index.html", "a.txt/",
        "a.txt/x", "none", "", "sub//index.html", "x" * 255, "x" * 256, "x/" * 2000 + "x", "x" * 5000, "%c0%ae%c0%ae/secret",
        "..;/secret", "~root", "sub%2findex.html",
    ],
)
def test_what_is_not_served(client: Client, name: str) -> None:
    client.send(f"GET /files/{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))
    answer = client.answer()
    assert answer.status == 404 and b"SECRET" not in answer.body and b"root:" not in answer.body


@pytest.mark.parametrize("name", ["a.txt%00", "%00", "a.txt%00.html", "%", "%zz", "%2"])
def test_what_is_no_path(client: Client, name: str) -> None:
    client.send(f"GET /files/{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert client.answer().status == 400


def test_links_inside_index_and_methods(client: Client) -> None:
    assert get(client, "in").body == b"0123456789"
    assert get(client, "sub/").body == b"index"
    moved = get(client, "sub?a=b")
    assert (moved.status, moved.get("Location")) == (301, "/files/sub/?a=b")
    refused = get(client, "a.txt", method="POST")
    assert refused.status == 405 and refused.get("Allow") == "GET, HEAD, OPTIONS"


def test_without_the_flag_there_are_no_files(kind: str) -> None:
    with harness.demo(kind) as server:
        assert server.get("/files/a.txt").status == 404


# -- large ones --


def expect_big(client: Client, first: int = 0) -> None:
    """Read the big file's bytes from `first` on, and look at each of them."""
    at, zeros = first, bytes(1 << 18)
    piece = bytes(client.buffer)
    client.buffer.clear()
    while True:
        marks = [mark - at for mark in MARKS if at <= mark < at + len(piece)]
        assert piece.count(b"\xaa") == len(marks) and all(piece[mark] == 0xAA for mark in marks)
        assert len(piece) - len(marks) == piece.count(b"\0")
        at += len(piece)
        if at == BIG:
            return
        piece = client.socket.recv(len(zeros))
        assert piece, f"ended at {at}"


def test_a_big_file_byte_by_byte_in_little_memory(kind: str, server: Server) -> None:
    server.get("/files/a.txt")
    before = server.rss_bytes()
    with server.client() as client:
        client.send(request("/files/big"))
        assert client.head().get("Content-Length") == str(BIG)
        expect_big(client)
        client.send(request("/files/big", fields=[f"Range: bytes={BIG - 5 * MIB}-"]))
        assert client.head().status == 206
        expect_big(client, BIG - 5 * MIB)
        assert get(client, "a.txt").status == 200
    assert server.rss_bytes() - before < (8 + harness.SLACK_MIB) * MIB


def test_others_are_answered_beside_big_files(server: Server) -> None:
    stop = threading.Event()
    errors: List[BaseException] = []

    def download() -> None:
        try:
            while not stop.is_set():
                with server.client() as client:
                    client.send(request("/files/big"))
                    client.head()
                    expect_big(client)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=download) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with server.client() as client:
            for _ in range(50):
                assert client.request("/json").status == get(client, "a.txt").status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors


def test_pipelined_files_come_in_order(client: Client) -> None:
    names = ["data.bin", "a.txt", "none", "empty", "in"] * 8
    client.send(b"".join(request(f"/files/{name}") for name in names))
    bodies = {"data.bin": BYTES, "a.txt": b"0123456789", "in": b"0123456789", "empty": b""}
    for name in names:
        answer = client.answer()
        assert answer.status == (404 if name == "none" else 200)
        assert answer.body == bodies.get(name, answer.body), name


# -- going away --


def test_a_client_that_does_not_read_costs_little(server: Server) -> None:
    server.get("/files/a.txt")
    rss, fds = server.rss_bytes(), server.fds()
    with server.client(receive_buffer=4096) as client:
        client.socket.settimeout(0.5)
        try:
            while True:  # as long as it is read
                client.send(request("/files/big") * 100)
        except socket.timeout:
            pass
        # Two wait in the connection, one more is worked on; and the connection itself.
        assert server.fds() - fds <= 4
        assert server.rss_bytes() - rss < (4 + harness.SLACK_MIB) * MIB
        client.reset()
    wait_until(lambda: server.fds() <= fds, "the files are closed")


@pytest.mark.parametrize("ranges", ["0-", "0-99999999,150000000-"])
def test_a_reset_in_the_middle_closes_the_file(server: Server, ranges: str) -> None:
    server.get("/files/a.txt")
    fds = server.fds()
    for _ in range(20):
        with server.client() as client:
            client.send(request("/files/big", fields=[f"Range: bytes={ranges}"]))
            assert client.head().status == 206
            client.socket.recv(100000)
            client.reset()
    wait_until(lambda: server.fds() <= fds, "the files are closed")
    assert server.get("/files/a.txt").status == 200


def test_a_file_that_shrinks_cuts_the_connection(server: Server, tree: Path) -> None:
    path = tree / "shrinks"
    path.write_bytes(b"x" * (64 * MIB))
    with server.client() as client:
        client.send(request("/files/shrinks") + request("/json"))
        assert client.head().get("Content-Length") == str(64 * MIB)
        os.truncate(path, 1000)
        rest = client.rest()
        # What waits in the socket are the file's own pages, which the kernel clears where they are cut off.
        assert len(rest) < 64 * MIB and rest.count(b"x") + rest.count(b"\0") == len(rest)
    path.unlink()
    assert server.get("/json").status == 200


def test_a_file_that_is_removed_is_sent_whole(server: Server, tree: Path) -> None:
    path = tree / "goes"
    path.write_bytes(BYTES * 64)
    with server.client() as client:
        client.send(request("/files/goes"))
        client.head()
        path.unlink()
        body = client._take(64 * len(BYTES))
    assert body == BYTES * 64
    assert server.get("/files/goes").status == 404
