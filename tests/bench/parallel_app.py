"""What bench_parallel.py measures: sixteen routes whose handlers are the same work of Python code, some 200 us of it.

usage: parallel_app.py SHARDS [NAME=VALUE ...]   the latter as turbo.run() takes them: loop=asyncio placement=round_robin
"""

import sys

import turbo

app = turbo.App()
ROUNDS = 1300  # of the loop: about 200 us on one CPU of the machine of docs/benchmarks.md, CPython 3.13 with a GIL
BODY = b'{"ok":true}'


def work(request: turbo.Request) -> bytes:
    total, seen = 0, {}
    for i in range(ROUNDS):
        total = (total * 31 + i) % 65521
        seen[total & 63] = str(i)
    return BODY


for number in range(16):
    app.get(f"/cpu/{number}")(work)


@app.get("/async")
async def ready(request: turbo.Request) -> bytes:
    return BODY


if __name__ == "__main__":
    turbo.run("parallel_app:app", port=0, shards=int(sys.argv[1]), **dict(word.split("=", 1) for word in sys.argv[2:]))
