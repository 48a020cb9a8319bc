"""The same routes on socketify's own interface. usage: socketify_app.py PORT"""

import asyncio
import sys

from socketify import App, AppListenOptions

OK = b'{"ok":true}'
app = App()


def answer(res, body):
    res.write_header("Content-Type", "application/json")
    res.cork_end(body)


def sync(res, req):
    res.write_header("Content-Type", "application/json")
    res.end(OK)


async def no_await(res, req):
    answer(res, OK)


async def sleep(res, req):
    await asyncio.sleep(0.001)
    answer(res, OK)


async def echo(res, req):
    data = await res.get_data()
    answer(res, data.getvalue())


app.get("/sync", sync)
app.get("/async", no_await)
app.get("/sleep", sleep)
app.post("/echo", echo)
app.listen(AppListenOptions(int(sys.argv[1]), "127.0.0.1"))
app.run()
