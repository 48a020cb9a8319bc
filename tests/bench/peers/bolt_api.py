"""The same routes on django-bolt; bolt_app.py serves them."""

import asyncio

from django_bolt import BoltAPI, Request

api = BoltAPI(enable_logging=False)


@api.get("/sync")
def sync():
    return {"ok": True}


@api.get("/async")
async def no_await():
    return {"ok": True}


@api.get("/sleep")
async def sleep():
    await asyncio.sleep(0.001)
    return {"ok": True}


@api.post("/echo")
async def echo(request: Request) -> bytes:
    return request.body
