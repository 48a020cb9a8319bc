"""The same routes for granian's own interface, RSGI."""

import asyncio

HEADERS = [("content-type", "application/json")]


async def app(scope, protocol):
    body, path = b'{"ok":true}', scope.path
    if path == "/sleep":
        await asyncio.sleep(0.001)
    elif path == "/echo":
        body = await protocol()
    protocol.response_bytes(200, HEADERS, body)
