"""The least that an ASGI application can do: what uvicorn serves in the benchmark."""

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"11")],
}
BODY = {"type": "http.response.body", "body": b'{"ok":true}'}


async def app(scope, receive, send):
    await send(START)
    await send(BODY)
