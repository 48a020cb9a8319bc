"""The Python demo: the same routes as demo.c, on asyncio loops behind libturbo's shards.

    python demo.py --port 8000 --shards 2 --batch-max 64

Every setting of turbo.settings() is a flag; --help lists them.
"""

import argparse
import asyncio
import itertools
import logging
import threading
import time
import zlib
from typing import Any, Dict, Iterator, List

import turbo

BIG_MAX = 64 * 1024 * 1024  # bytes that /big answers at most
UPLOAD_MAX = 1 << 40
ECHO_MAX = 16 * 1024 * 1024  # bytes that /echo takes at most
JSON = "application/json"

ROUTES = """libturbo demo
GET  /            this text
GET  /json        {"ok":true}
GET  /sync        {"ok":true} from a sync handler
GET  /async       {"ok":true} from an async handler that awaits nothing
GET  /sleep       ?ms=1: awaits a timer
any  /span        ?ms=1: awaits a timer; counts its beginning and end among all others
GET  /users/{id}  JSON with the id
any  /reflect     the request as JSON
GET  /big         ?bytes=N: N bytes, up to 64 MiB
GET  /stream      ?chunks=N&bytes=M: N chunks of M bytes
GET  /nothing     204
GET  /cached      304
GET  /fail        the handler fails: 500
GET  /block       ?ms=1: sleeps in the handler
GET  /pool        ?ms=1: sleeps in the handler, on one of four threads of the shard's pool
GET  /spin        ?us=100: computes in the handler
GET  /r/{n}       {"ok":true} from sixteen routes, /r/0 to /r/15
GET  /files/{path...}  a file of the directory that --files names
GET  /stats       counters as JSON
GET  /metrics     counters as Prometheus text
POST /echo        the body back
POST /upload      ?ms=0&take=N: waits, reads the body while it comes, at least take bytes; how many, and their Adler-32 sum
POST /batch       how many requests shared a batch
"""

app = turbo.App()
app.route_stats("/stats", "/metrics")


def number(request: turbo.Request, name: str, default: int, most: int) -> int:
    """A parameter of the query as a number from 0 to most; anything else is answered 400."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) > most:
        raise turbo.HTTPError(400, f"{name}: a number from 0 to {most}\n")
    return int(text)


@app.get("/")
def index(request: turbo.Request) -> str:
    return ROUTES


@app.get("/json")
@app.get("/sync")
def sync(request: turbo.Request) -> Dict[str, Any]:
    return {"ok": True}


for n in range(16):
    app.get(f"/r/{n}")(sync)


@app.get("/async", content_type=JSON)
async def no_await(request: turbo.Request) -> bytes:
    return b'{"ok":true}'


@app.get("/sleep", content_type=JSON)
async def sleep(request: turbo.Request) -> bytes:
    await asyncio.sleep(number(request, "ms", 1, 60000) / 1000)
    return b'{"ok":true}'


ticks = itertools.count()


@app.route("/span")
async def span(request: turbo.Request) -> Dict[str, Any]:
    """Two of these ran together when their spans overlap."""
    begun = next(ticks)
    await asyncio.sleep(number(request, "ms", 1, 60000) / 1000)
    return {"begun": begun, "ended": next(ticks)}


@app.get("/users/{id}")
def user(request: turbo.Request) -> Dict[str, Any]:
    return {"id": request.path_params["id"]}


@app.route("/reflect")
def reflect(request: turbo.Request) -> Dict[str, Any]:
    return {
        "method": request.method,
        "path": request.path,
        "query": request.query_string,
        "headers": request.headers.items(),
        "body": request.body.decode("latin-1"),  # each byte a character, so that none is lost
        "trailers": request.trailers.items(),
    }


@app.get("/big")
def big(request: turbo.Request) -> bytes:
    return bytes(number(request, "bytes", 1024, BIG_MAX))


def chunks(count: int, size: int) -> Iterator[bytes]:
    chunk = bytes(size)
    for _ in range(count):
        yield chunk


@app.get("/stream")
def stream(request: turbo.Request) -> turbo.StreamingResponse:
    count = number(request, "chunks", 10, 1000000)
    return turbo.StreamingResponse(chunks(count, number(request, "bytes", 1024, BIG_MAX)))


@app.get("/nothing")
def nothing(request: turbo.Request) -> None:
    return None


@app.get("/cached")
def cached(request: turbo.Request) -> turbo.Response:
    return turbo.Response(status=304)


@app.get("/fail")
def fail(request: turbo.Request) -> None:
    raise RuntimeError("this handler fails")


def place(request: turbo.Request) -> Dict[str, Any]:
    """Where a handler ran."""
    return {"shard": request.shard.index, "thread": threading.get_native_id()}


@app.get("/pool", threads=4)
@app.get("/block")
def block(request: turbo.Request) -> Dict[str, Any]:
    time.sleep(number(request, "ms", 1, 1000) / 1000)
    return place(request)


@app.get("/spin")
def spin(request: turbo.Request) -> Dict[str, Any]:
    us, start = number(request, "us", 100, 1000000), time.monotonic_ns()
    while time.monotonic_ns() - start < us * 1000:
        pass
    return place(request)


@app.post("/echo", body_max_bytes=ECHO_MAX)
def echo(request: turbo.Request) -> turbo.Response:
    return turbo.Response(memoryview(request), content_type=request.headers.get("content-type"))


async def upload(request: turbo.Request) -> Dict[str, Any]:
    take = number(request, "take", UPLOAD_MAX, UPLOAD_MAX)
    await asyncio.sleep(number(request, "ms", 0, 10000) / 1000)
    count, total = 0, 1
    if take == 0:
        return {"bytes": count, "sum": total}
    async for part in request.stream():
        count += len(part)
        total = zlib.adler32(part, total)
        if count >= take:
            break
    return {"bytes": count, "sum": total}


@app.post("/batch", batch=128)
def batch(requests: List[turbo.Request]) -> List[Dict[str, Any]]:
    return [{"batch": len(requests)}] * len(requests)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="libturbo's Python demo", formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; unix:PATH for a unix socket")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 picks a free one")
    parser.add_argument("--fd", type=int, default=argparse.SUPPRESS, help="an inherited socket that listens")
    parser.add_argument("--loop", choices=("auto", "uvloop", "asyncio"), default="auto", help="event loop")
    parser.add_argument("--mode", choices=("sharded", "single"), default="sharded", help="one loop a shard, or one for all")
    parser.add_argument("--parallel", default="auto", help="auto, gil, free-threaded, processes: how shards run side by side")
    parser.add_argument("--task", choices=("turbo", "stock"), default="turbo", help="task type of coroutines")
    parser.add_argument("--files", metavar="DIR", help="a directory to serve below /files/")
    for setting in turbo.settings():
        what = "|".join(setting.choices) if setting.choices else f"{setting.min}..{setting.max} {setting.unit}".strip()
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            metavar="WORD" if setting.choices else "N",
            default=argparse.SUPPRESS,
            help=f"{setting.doc} [{what}; {setting.default}]".replace("%", "%%"),
        )
    return parser.parse_args()


def main() -> None:
    options = vars(arguments())
    files = options.pop("files")
    if options["host"].startswith("unix:"):
        options["unix"] = options["host"][len("unix:") :]
    if options["mode"] != "single":  # which has no streamed bodies
        app.post("/upload", body="streamed", body_max_bytes=UPLOAD_MAX)(upload)
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # the counts at the end, to standard error
    try:
        if files is not None:
            app.static("/files", files, index="index.html")
        lost = app.run(**options)
    except (ValueError, OSError) as error:
        raise SystemExit(f"demo.py: {error}") from None
    if lost:
        raise SystemExit(3)  # requests that were taken have had no answer when the drain ended


if __name__ == "__main__":
    main()
