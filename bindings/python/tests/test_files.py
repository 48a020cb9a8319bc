"""Files as answers: FileResponse from every kind of handler, and static directories."""

import asyncio
import email.parser
import os
from pathlib import Path
from typing import Any, List, Tuple

import pytest
import turbo
from conftest import Client, Serve
from turbo.files import content_disposition

BYTES = bytes(i * 7 % 251 for i in range(300000))
OLD = 1e9


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory to serve, beside a file that must not be."""
    root = tmp_path / "www"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("SECRET")
    (root / "data.bin").write_bytes(BYTES)
    (root / "a.txt").write_text("0123456789")
    (root / "sub/index.html").write_text("<p>index")
    (root / ".dot").write_text("dot")
    (root / "out").symlink_to("../secret")
    for path in (root / "data.bin", root / "a.txt"):
        os.utime(path, (OLD, OLD))
    return root


def app_of(root: Path) -> turbo.App:
    app = turbo.App()

    @app.get("/sync/{name}")
    def sync(request: turbo.Request) -> turbo.FileResponse:
        return turbo.FileResponse(root / request.path_params["name"], headers={"Cache-Control": "no-cache"})

    @app.get("/async/{name}")
    async def coroutine(request: turbo.Request) -> turbo.FileResponse:
        await asyncio.sleep(0)
        return turbo.FileResponse(str(root / request.path_params["name"]))

    @app.get("/pool/{name}", threads=2, middleware=False)
    def pooled(request: turbo.Request) -> turbo.FileResponse:
        return turbo.FileResponse(os.fsencode(root / request.path_params["name"]))

    @app.get("/batch/{name}", batch=8)
    def batch(requests: List[turbo.Request]) -> List[turbo.FileResponse]:
        return [turbo.FileResponse(root / request.path_params["name"]) for request in requests]

    return app


KINDS = ["sync", "async", "pool", "batch"]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_part_and_not_changed(serve: Serve, tree: Path, kind: str, task_name: str) -> None:
    client = serve(app_of(tree), task=task_name)
    whole = client.get(f"/{kind}/data.bin")
    assert (whole.status, whole.body) == (200, BYTES)
    assert whole.headers["accept-ranges"] == "bytes" and whole.headers["content-type"] == "application/octet-stream"
    part = client.get(f"/{kind}/data.bin", Range="bytes=100000-199999", If_Range=whole.headers["last-modified"])
    assert (part.status, part.body) == (206, BYTES[100000:200000])
    assert part.headers["content-range"] == "bytes 100000-199999/300000"
    assert client.get(f"/{kind}/data.bin", If_None_Match=whole.headers["etag"]).status == 304
    assert client.get(f"/{kind}/data.bin", If_Match='"x"').status == 412
    assert client.get(f"/{kind}/data.bin", Range="bytes=300000-").status == 416
    head = client.ask("HEAD", f"/{kind}/data.bin")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "300000")


def test_several_ranges_are_mime_parts(serve: Serve, tree: Path) -> None:
    answer = serve(app_of(tree)).get("/sync/data.bin", Range="bytes=0-9,1000-1009,-10")
    message = email.parser.BytesParser().parsebytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.body
    )
    parts = [(part["Content-Range"], part.get_payload(decode=True)) for part in message.get_payload()]  # type: ignore
    assert answer.status == 206 and [name for name, _ in parts] == [
        "bytes 0-9/300000",
        "bytes 1000-1009/300000",
        "bytes 299990-299999/300000",
    ]
    assert answer.body.count(BYTES[1000:1010]) >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_not_there_is_an_oserror(serve: Serve, tree: Path, failures: Any, kind: str) -> None:
    app = app_of(tree)
    assert serve(app).get(f"/{kind}/none").status == 500
    error = failures()[0].exc_info[1]
    assert isinstance(error, FileNotFoundError)
    assert os.fsdecode(error.filename) == str(tree / "none")


def test_an_exception_handler_may_make_it_404(serve: Serve, tree: Path) -> None:
    app = app_of(tree)

    @app.exception_handler(FileNotFoundError)
    def missing(request: turbo.Request, error: Exception) -> turbo.Response:
        return turbo.Response("no such file", 404)

    client = serve(app)
    assert client.get("/sync/none").status == client.get("/async/none").status == client.get("/sync/sub").status == 404


def test_headers_status_type_and_name(serve: Serve, tree: Path) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.FileResponse:
        return turbo.FileResponse(tree / "a.txt", 203, {"X-A": "1"}, "x/y", filename="na\"me.txt")

    @app.get("/etag")
    def tagged(request: turbo.Request) -> turbo.FileResponse:
        return turbo.FileResponse(tree / "a.txt", headers=[("ETag", '"mine"')])

    client = serve(app)
    answer = client.get("/", Range="bytes=0-0", If_None_Match="*")
    assert (answer.status, answer.body) == (203, b"0123456789")  # not of another status than 200
    assert answer.headers["x-a"] == "1" and answer.headers["content-type"] == "x/y"
    assert answer.headers["content-disposition"] == 'attachment; filename="na\\"me.txt"'
    assert client.get("/etag", If_None_Match='"mine"').status == 304


def test_fields_about_ranges_are_sent_once(serve: Serve, tree: Path) -> None:
    app = turbo.App()
    own = {"/none": {"Accept-Ranges": "none"}, "/range": {"Content-Range": "bytes 0-1/5"}}
    app.get("/{name}")(lambda request: turbo.FileResponse(tree / "a.txt", headers=own[request.path]))
    client = serve(app)
    whole = client.get("/none", Range="bytes=0-3")
    assert (whole.status, whole.body, whole.headers["accept-ranges"]) == (200, b"0123456789", "none")
    part = client.get("/range", Range="bytes=0-3")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"0123", "bytes 0-3/10")


def test_middleware_sees_the_response(serve: Serve, tree: Path) -> None:
    app = app_of(tree)
    seen: List[str] = []

    @app.middleware
    async def around(request: turbo.Request, call_next: Any) -> Any:
        response = await call_next(request)
        seen.append(os.path.basename(response.path))
        response.headers.append(("X-Seen", "1"))
        return response

    assert serve(app).get("/sync/a.txt").headers["x-seen"] == "1" and seen == ["a.txt"]


@pytest.mark.parametrize(
    "name, field",
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        ('a"b\\c', 'attachment; filename="a\\"b\\\\c"'),
        ("é;.txt", "attachment; filename=\"?;.txt\"; filename*=UTF-8''%C3%A9%3B.txt"),
    ],
)
def test_content_disposition(name: str, field: str) -> None:
    assert content_disposition(name) == field


@pytest.mark.parametrize(
    "args, error",
    [
        ((1,), TypeError),
        ((), TypeError),
        (("a", 99), ValueError),
        (("a", 200, None, 1), TypeError),
        (("a", 200, None, None, "a\r\nb"), ValueError),
    ],
)
def test_arguments_are_checked(args: Tuple[Any, ...], error: type) -> None:
    with pytest.raises(error):
        turbo.FileResponse(*args)


def test_a_path_with_nul_fails_its_request_only(serve: Serve, failures: Any) -> None:
    app = turbo.App()
    app.get("/")(lambda request: turbo.FileResponse("a\0b"))
    client = serve(app)
    assert client.get("/").status == client.get("/").status == 500
    assert isinstance(failures()[0].exc_info[1], ValueError)


# -- directories --


def static(serve: Serve, tree: Path, **options: Any) -> Client:
    app = turbo.App()
    app.static("/s", tree, **options)
    return serve(app)


def test_a_directory_is_served_and_not_left(serve: Serve, tree: Path) -> None:
    client = static(serve, tree)
    assert client.get("/s/data.bin").body == BYTES
    assert client.get("/s/a.txt", Range="bytes=2-3").body == b"23"
    for path in ("/s/../secret", "/s/%2e%2e/secret", "/s/..%2fsecret", "/s/out", "/s/.dot", "/s/sub/", "/s/sub", "/s/", "/s"):
        answer = client.get(path)
        assert answer.status == 404 and b"SECRET" not in answer.body, path
    assert client.get("/s/a%00").status == 400
    assert client.post("/s/a.txt").status == 405


def test_options_of_a_directory(serve: Serve, tree: Path) -> None:
    client = static(serve, tree, index="index.html", dot_files=True, cache_control="max-age=60")
    assert client.get("/s/.dot").body == b"dot"
    assert client.get("/s/sub/").body == b"<p>index"
    moved = client.get("/s/sub")
    assert (moved.status, moved.headers["location"]) == (301, "/s/sub/")
    assert client.get("/s/a.txt").headers["cache-control"] == "max-age=60"


def test_directories_that_cannot_be_served(serve: Serve, tree: Path) -> None:
    app = turbo.App()
    with pytest.raises(FileNotFoundError):
        app.static("/s", tree / "none")
    with pytest.raises(NotADirectoryError):
        app.static("/s", tree / "a.txt")
    app.static("/s", tree, index="a/b")
    with pytest.raises(ValueError, match="index"):
        app.start(port=0)


def test_the_root_of_everything(serve: Serve, tree: Path) -> None:
    app = turbo.App()
    app.static("/", tree)
    app.get("/hello")(lambda request: b"hello")
    client = serve(app)
    assert client.get("/a.txt").body == b"0123456789"
    assert client.get("/hello").body == b"hello"
    assert client.get("//a.txt").status == 404
