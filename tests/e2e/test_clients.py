"""Real clients: curl, httpx and aiohttp, each as its users use it."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import AsyncIterator, Iterator

import pytest

from harness import OK_BODY, Server

aiohttp = pytest.importorskip("aiohttp")
httpx = pytest.importorskip("httpx")

BODY = bytes(range(256)) * 4000  # a megabyte, less than /reflect's limit
SHOWN = "\n%{http_code} %{http_version} %{num_connects} %{size_download}"

# -- curl --


def curl(*args: str, data: bytes = b"") -> bytes:
    assert shutil.which("curl"), "scripts/deps.sh test installs it"
    done = subprocess.run(["curl", "-sS", "-m", "20", *args], input=data, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(BODY)
    return path


def test_curl_get(server: Server) -> None:
    out = curl("-i", server.url + "/json")
    head, _, body = out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and body == OK_BODY


def test_curl_reuses_its_connection(server: Server) -> None:
    urls = [server.url + f"/users/{i}" for i in range(5)]
    out = curl("-w", SHOWN + "\n", *urls).decode().split("\n")
    assert [line.split()[2] for line in out if line.startswith("200")] == ["1", "0", "0", "0", "0"]
    assert [json.loads(line)["id"] for line in out if line.startswith("{")] == list("01234")


@pytest.mark.parametrize("version,said", [("--http1.0", "1.0"), ("--http1.1", "1.1")])
def test_curl_versions(server: Server, version: str, said: str) -> None:
    out = curl(version, "-w", SHOWN, server.url + "/async", server.url + "/stream?chunks=3&bytes=1000")
    assert out.count(b"\n200 ") == 2
    assert out.startswith(OK_BODY + b"\n200 1.1 1 11" if said == "1.1" else OK_BODY + b"\n200 ")
    assert out.endswith(b"3000")


def test_curl_http_1_0_keep_alive(server: Server) -> None:
    field = "Connection: keep-alive"
    out = curl("--http1.0", "-H", field, "-w", SHOWN + "\n", server.url + "/json", server.url + "/json").decode()
    assert [line.split()[2] for line in out.split("\n") if line.startswith("200")] == ["1", "0"]


def test_curl_head_and_options(server: Server) -> None:
    head = curl("-I", server.url + "/big?bytes=12345").decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n") and "Content-Length: 12345\r\n" in head
    out = curl("-i", "-X", "OPTIONS", server.url + "/json").decode()
    assert out.startswith("HTTP/1.1 204 ") and "Allow: GET, HEAD, OPTIONS\r\n" in out


def test_curl_uploads_a_file(server: Server, upload: Path) -> None:
    seen = json.loads(curl("-T", str(upload), server.url + "/reflect"))
    assert seen["method"] == "PUT" and seen["body"].encode("latin-1") == BODY
    assert ["Expect", "100-continue"] in seen["headers"]


def test_curl_uploads_a_stream(server: Server) -> None:
    seen = json.loads(curl("-T", "-", server.url + "/reflect", data=BODY))
    assert seen["body"].encode("latin-1") == BODY
    assert ["Transfer-Encoding", "chunked"] in seen["headers"]


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_curl_posts(server: Server, upload: Path, expect: str) -> None:
    out = curl("-H", expect, "-H", "Content-Type: a/b", "--expect100-timeout", "20", "--data-binary", f"@{upload}",
               server.url + "/echo")
    assert out == BODY


def test_curl_form_and_query(server: Server) -> None:
    seen = json.loads(curl("-F", "a=1", "-F", "b=2;type=x/y", server.url + "/reflect?q=%20"))
    assert seen["query"] == "q=%20" and 'name="b"' in seen["body"]


def test_curl_is_told_no_before_it_uploads(server: Server, tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(bytes(3 << 20))
    out = curl("-T", str(tmp_path / "huge"), "--expect100-timeout", "20", "-w", "%{http_code} %{size_upload}",
               "-o", "/dev/null", server.url + "/reflect")
    assert out == b"413 0"


def test_curl_many_at_once(server: Server) -> None:
    out = curl("-Z", "--parallel-max", "30", "-o", "/dev/null", "-w", "%{http_code} %{size_download}\n",
               server.url + "/sleep?ms=[1-120]")
    assert out.count(b"200 11\n") == 120


def test_curl_big_download(server: Server) -> None:
    assert curl(server.url + "/big?bytes=20000000") == bytes(20_000_000)


# -- httpx --


def test_httpx(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        for _ in range(20):
            assert client.get("/async").json() == {"ok": True}
        assert client.post("/echo", content=BODY, headers={"Content-Type": "a/b"}).content == BODY
        assert client.get("/reflect", params={"a": "b c"}).json()["query"] == "a=b+c"
        assert client.head("/big?bytes=99").headers["content-length"] == "99"
        assert client.options("/json").headers["allow"] == "GET, HEAD, OPTIONS"
        for path, status in (("/nothing", 204), ("/cached", 304), ("/fail", 500), ("/none", 404)):
            assert client.get(path).status_code == status


def test_httpx_streams_both_ways(server: Server) -> None:
    def parts() -> Iterator[bytes]:
        for i in range(50):
            yield b"%d" % i * 100

    with httpx.Client(base_url=server.url, timeout=20) as client:
        assert client.post("/echo", content=parts()).content == b"".join(parts())
        with client.stream("GET", "/stream?chunks=200&bytes=10000") as answer:
            assert sum(len(part) for part in answer.iter_raw()) == 2_000_000


def test_httpx_many_at_once(server: Server) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            answers = await asyncio.gather(*(client.get(f"/users/{i}") for i in range(200)))
            assert [answer.json()["id"] for answer in answers] == [str(i) for i in range(200)]

    asyncio.run(run())


# -- aiohttp --


def test_aiohttp(server: Server) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for i in range(50):
            yield b"%d" % i * 100

    async def one(session: "aiohttp.ClientSession", i: int) -> None:
        async with session.get(f"/users/{i}") as answer:
            assert await answer.json() == {"id": str(i)}

    async def run() -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(server.url, timeout=timeout) as session:
            await asyncio.gather(*(one(session, i) for i in range(200)))
            async with session.post("/echo", data=BODY, expect100=True) as answer:
                assert await answer.read() == BODY
            async with session.post("/echo", data=parts()) as answer:
                assert await answer.read() == b"".join([part async for part in parts()])
            async with session.get("/stream?chunks=100&bytes=3000") as answer:
                assert answer.headers["Transfer-Encoding"] == "chunked"
                assert len(await answer.read()) == 300_000
            async with session.head("/big?bytes=7") as answer:
                assert answer.headers["Content-Length"] == "7"

    asyncio.run(run())
