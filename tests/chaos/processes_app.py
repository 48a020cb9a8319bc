"""What make chaos-processes serves: every answer says which process made it, and for which request."""

import asyncio
import os
import zlib
from typing import Any, Dict

import turbo

app = turbo.App()


def said(request: turbo.Request) -> Dict[str, Any]:
    return {"pid": os.getpid(), "id": request.path_params["id"], "sum": zlib.adler32(request.body)}


@app.get("/now/{id}")
def now(request: turbo.Request) -> Dict[str, Any]:
    return said(request)


@app.get("/wait/{id}")
async def wait(request: turbo.Request) -> Dict[str, Any]:
    await asyncio.sleep(int(request.query["ms"]) / 1000)
    return said(request)


@app.post("/sum/{id}")
async def total(request: turbo.Request) -> Dict[str, Any]:
    return said(request)
