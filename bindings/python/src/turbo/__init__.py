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
from .errors import HTTPError, bad_json, log_failure
from .streaming import await_any, pump

__all__ = [
    "App",
    "Fields",
    "HTTPError",
    "Request",
    "Response",
    "Setting",
    "Shard",
    "StreamingResponse",
    "Task",
    "__version__",
    "library_version",
    "settings",
]

__version__ = "0.1.0"

_native.set_hooks(
    log_failure=log_failure,
    pump=pump,
    await_any=await_any,
    bad_json=bad_json,
    http_error=HTTPError,
    json_dumps=_codec.dumps,
    json_loads=_codec.loads,
)
