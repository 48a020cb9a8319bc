"""The least ASGI application with the benchmark's routes: uvicorn, granian, fastpysgi."""

import asyncio

TYPE = (b"content-type", b"application/json")
START = {"type": "http.response.start", "status": 200, "headers": [TYPE, (b"content-length", b"11")]}
BODY = {"type": "http.response.body", "body": b'{"ok":true}'}


async def read_body(receive):
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    start, body, path = START, BODY, scope["path"]
    if path == "/sleep":
        await asyncio.sleep(0.001)
    elif path == "/echo":
        data = await read_body(receive)
        start = {**START, "headers": [TYPE, (b"content-length", b"%d" % len(data))]}
        body = {"type": "http.response.body", "body": data}
    await send(start)
    await send(body)
