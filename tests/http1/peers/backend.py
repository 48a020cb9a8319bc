"""What stands behind nginx: it trusts what nginx sends, one request a connection."""

import asyncio
import itertools
import json
from typing import List, Tuple
from urllib.parse import parse_qs, unquote_to_bytes

ticks = itertools.count()


async def answer(writer: asyncio.StreamWriter, status: str, kind: str, body: bytes) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)


async def stream(writer: asyncio.StreamWriter, count: int, size: int) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n")
    for _ in range(count if size else 0):
        writer.write(b"%x\r\n%b\r\n" % (size, b"x" * size))
    writer.write(b"0\r\n\r\n")


async def read_request(reader: asyncio.StreamReader) -> Tuple[str, str, List[Tuple[str, str]], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
    method, _, rest = head[0].partition(" ")
    fields = [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in head[1:])]
    length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    return method, rest.rpartition(" ")[0], fields, await reader.readexactly(length)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, target, fields, body = await read_request(reader)
    path, _, query = target.partition("?")
    numbers = {name: int(values[0]) for name, values in parse_qs(query).items() if values[0].isdigit()}
    if path == "/sleep":
        await asyncio.sleep(numbers.get("ms", 1) / 1000)
        await answer(writer, "200 OK", "application/json", b'{"ok":true}')
    elif path == "/span":
        begun = next(ticks)
        await asyncio.sleep(numbers.get("ms", 1) / 1000)
        text = json.dumps({"begun": begun, "ended": next(ticks)})
        await answer(writer, "200 OK", "application/json", text.encode())
    elif path == "/big":
        await answer(writer, "200 OK", "application/octet-stream", b"x" * numbers.get("bytes", 1024))
    elif path == "/stream":
        await stream(writer, numbers.get("chunks", 10), numbers.get("bytes", 1024))
    elif path == "/echo":
        kind = next((value for name, value in fields if name.lower() == "content-type"), "application/octet-stream")
        await answer(writer, "200 OK", kind, body)
    elif path.startswith("/users/"):
        name = unquote_to_bytes(path[7:]).decode("utf-8", "replace")
        await answer(writer, "200 OK", "application/json", json.dumps({"id": name}).encode())
    else:
        seen = {"method": method, "path": path, "query": query, "headers": fields, "body": body.decode("latin-1")}
        await answer(writer, "200 OK", "application/json", json.dumps(seen).encode())
    await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    print(f"backend listens on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
