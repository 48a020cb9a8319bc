"""The demos' routes as an ASGI application, served by uvicorn. usage: asgi.py httptools|h11"""

import asyncio
import itertools
import json
import socket
import sys
from urllib.parse import parse_qs

import uvicorn

OK = b'{"ok":true}'
ticks = itertools.count()
JSON, BYTES = b"application/json", b"application/octet-stream"
GET_ROUTES = {"/", "/json", "/sync", "/async", "/sleep", "/big", "/stream", "/nothing", "/cached", "/fail"}


async def send_answer(scope, send, status, body=b"", kind=JSON, fields=()):
    headers = [*fields] + ([(b"content-type", kind)] if body else [])
    if status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def send_stream(send, count, size):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", BYTES)]})
    for _ in range(count if size else 0):
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def read_body(receive):
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


def reflection(scope, body):
    raw = scope["raw_path"].decode("latin-1")
    return json.dumps({
        "method": scope["method"], "path": raw.partition("?")[0], "query": scope["query_string"].decode("latin-1"),
        "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }).encode()


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    method, path = scope["method"], scope["path"]
    numbers = {n: int(v[0]) for n, v in parse_qs(scope["query_string"].decode("latin-1")).items() if v[0].isdigit()}
    allowed = "GET, HEAD" if path in GET_ROUTES or path.startswith("/users/") else "POST" if path == "/echo" else ""
    if path == "*" and method == "OPTIONS":
        return await send_answer(scope, send, 204, fields=[(b"allow", b"GET, HEAD, POST")])
    if not allowed and path not in ("/reflect", "/span"):
        return await send_answer(scope, send, 404, b"not found", b"text/plain")
    if allowed and method == "OPTIONS":
        return await send_answer(scope, send, 204, fields=[(b"allow", allowed.encode())])
    if allowed and method not in allowed.split(", "):
        return await send_answer(scope, send, 405, b"no", b"text/plain", [(b"allow", allowed.encode())])
    body = await read_body(receive)
    if body is None:
        return
    if path == "/reflect":
        return await send_answer(scope, send, 200, reflection(scope, body))
    if path == "/span":
        begun = next(ticks)
        await asyncio.sleep(numbers.get("ms", 1) / 1000)
        return await send_answer(scope, send, 200, json.dumps({"begun": begun, "ended": next(ticks)}).encode())
    if path == "/echo":
        kind = dict(scope["headers"]).get(b"content-type", BYTES)
        return await send_answer(scope, send, 200, body, kind)
    if path.startswith("/users/"):
        return await send_answer(scope, send, 200, json.dumps({"id": path[7:]}).encode())
    if path == "/sleep":
        await asyncio.sleep(numbers.get("ms", 1) / 1000)
    if path == "/big":
        return await send_answer(scope, send, 200, b"x" * numbers.get("bytes", 1024), BYTES)
    if path == "/stream":
        return await send_stream(send, numbers.get("chunks", 10), numbers.get("bytes", 1024))
    if path == "/fail":
        raise RuntimeError("this handler fails")
    status = {"/nothing": 204, "/cached": 304}.get(path, 200)
    await send_answer(scope, send, status, OK if status == 200 else b"")


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"uvicorn listens on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, http=sys.argv[1], ws="none", lifespan="off", log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


main()
