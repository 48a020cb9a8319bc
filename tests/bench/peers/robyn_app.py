"""The same routes on robyn. ROBYN_PORT in the environment is its port."""

import asyncio

from robyn import Headers, Response, Robyn

app = Robyn(__file__)
HEADERS = Headers({"content-type": "application/json"})


def answer(body):
    return Response(status_code=200, headers=HEADERS, description=body)


@app.get("/sync")
def sync(request):
    return answer(b'{"ok":true}')


@app.get("/async")
async def no_await(request):
    return answer(b'{"ok":true}')


@app.get("/sleep")
async def sleep(request):
    await asyncio.sleep(0.001)
    return answer(b'{"ok":true}')


@app.post("/echo")
async def echo(request):
    return answer(request.body)


app.start(host="127.0.0.1")
