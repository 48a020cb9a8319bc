"""Files as answers: by path, by descriptor, and a directory."""

import http.client
import os
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import pytest
from conftest import DEADLINE
from turbo_cffi import Error, Request, Response, RouteOptions, Server, ffi, lib

BYTES = bytes(i * 7 % 251 for i in range(200000))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "data.bin").write_bytes(BYTES)
    (tmp_path / "page.html").write_text("<p>")
    (tmp_path / ".hidden").write_text("dots")
    os.utime(tmp_path / "data.bin", (1e9, 1e9))

    def whole(request: Request) -> None:
        response = Response(200, [("Cache-Control", "no-cache")])
        response.set_file(request, str(tmp_path / request.param("name").decode()))
        request.respond(response)

    def piece(request: Request) -> None:
        response = Response(200)
        response.set_body_file(os.open(tmp_path / "data.bin", os.O_RDONLY), 1000, 100000)
        request.respond(response)

    with Server() as server:
        server.route("GET", "/file/{name}", whole)
        server.route("GET", "/piece", piece)
        options = RouteOptions(executor="inline", dot_files="yes", cache_control="max-age=1", index="page.html")
        server.route_static("/s/{path...}", str(tmp_path), options)
        server.listen("127.0.0.1:0")
        server.start()
        yield server


def get(server: Server, path: str, headers: Optional[Dict[str, str]] = None) -> Tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_a_file_by_its_path(server: Server) -> None:
    status, headers, body = get(server, "/file/data.bin")
    assert (status, body) == (200, BYTES)
    assert headers["Cache-Control"] == "no-cache" and headers["Accept-Ranges"] == "bytes"
    status, again, body = get(server, "/file/data.bin", {"Range": "bytes=10-19", "If-Range": headers["Last-Modified"]})
    assert (status, body, again["Content-Range"]) == (206, BYTES[10:20], "bytes 10-19/200000")
    assert get(server, "/file/data.bin", {"If-None-Match": headers["ETag"]})[0] == 304


def test_a_piece_of_an_open_file(server: Server) -> None:
    assert get(server, "/piece")[::2] == (200, BYTES[1000:101000])


def test_a_directory(server: Server) -> None:
    status, headers, body = get(server, "/s/data.bin")
    assert (status, body, headers["Cache-Control"]) == (200, BYTES, "max-age=1")
    assert get(server, "/s/")[2] == b"<p>"
    assert get(server, "/s/.hidden")[2] == b"dots"
    assert get(server, "/s/../data.bin")[0] == 404


def test_errors_name_what_was_asked_for() -> None:
    with Server() as server:
        with pytest.raises(Error, match="nowhere"):
            server.route_static("/{path...}", "/nowhere")
        with pytest.raises(Error, match="does not end in"):
            server.route_static("/", "/")
    response = Response(200)
    with pytest.raises(Error):
        response.set_body_file(-1, 2**63, 1)


def test_media_types() -> None:
    assert ffi.string(lib.turbo_media_type(b"a.css")) == b"text/css; charset=utf-8"
