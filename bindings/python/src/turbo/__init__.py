"""HTTP over loop shards: sync and async handlers on asyncio loops, behind libturbo's C core.

    import turbo

    app = turbo.App()

    @app.get("/")
    async def hello(request):
        return {"hello": request.query.get("name", "world")}

    app.run(port=8000)
"""

from . import _codec, _native
from ._native import Fields, Request, Response, Setting, Shard, StreamingResponse, Task, library_version, settings
from .app import App
from .bodies import BodyStream, read_body
from .draining import wait_draining
from .errors import BodyError, ClientDisconnect, HTTPError, bad_json, log_failure
from .events import Event, EventStream
from .files import FileResponse
from .runner import run
from .streaming import ResponseWriter, await_any, discard, pump, respond

__all__ = [
    "App",
    "BodyError",
    "ClientDisconnect",
    "Event",
    "EventStream",
    "Fields",
    "FileResponse",
    "HTTPError",
    "Request",
    "Response",
    "ResponseWriter",
    "Setting",
    "Shard",
    "StreamingResponse",
    "Task",
    "__version__",
    "library_version",
    "run",
    "settings",
    "wait_draining",
]

__version__ = "0.1.0"

_native.set_hooks(
    log_failure=log_failure,
    pump=pump,
    discard=discard,
    respond=respond,
    await_any=await_any,
    bad_json=bad_json,
    http_error=HTTPError,
    json_dumps=_codec.dumps,
    json_loads=_codec.loads,
    body_error=BodyError,
    client_disconnect=ClientDisconnect,
    body_stream=BodyStream,
    body_read=read_body,
)
