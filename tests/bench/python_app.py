"""What bench_python.py and bench_convoy.py measure. usage: python_app.py --port PORT [NAME=VALUE ...]

NAME is an argument of App.run(), or `middleware`, whose values are the names in MIDDLEWARE.
"""

import ctypes
import sys
import time
from typing import Any, Dict

import turbo

JSON = "application/json"
BODY = b'{"ok":true}'

app = turbo.App()
app.route_stats("/stats")
usleep_with_gil = ctypes.PyDLL(None).usleep  # PyDLL: unlike CDLL, a call does not let go of the GIL


def plain(request: turbo.Request, call_next: Any) -> Any:
    return call_next(request)


async def coroutine(request: turbo.Request, call_next: Any) -> Any:
    return await call_next(request)


MIDDLEWARE = {"function": plain, "coroutine": coroutine}


@app.get("/sync", content_type=JSON)
def sync(request: turbo.Request) -> bytes:
    return BODY


@app.get("/async", content_type=JSON)
async def no_await(request: turbo.Request) -> bytes:
    return BODY


def compute(request: turbo.Request) -> bytes:
    end = time.monotonic_ns() + int(request.path_params["us"]) * 1000
    while time.monotonic_ns() < end:
        pass
    return BODY


def hold(request: turbo.Request) -> bytes:
    """As an extension does that computes without letting go of the GIL."""
    usleep_with_gil(int(request.path_params["us"]))
    return BODY


def where(request: turbo.Request) -> bytes:
    return str(request.shard.index).encode()


for path, handler in (("/fast/{key}", sync), ("/compute/{key}/{us}", compute), ("/hold/{key}/{us}", hold), ("/where/{key}", where)):
    app.get(path, key="param:key")(handler)
app.get("/pool/compute/{us}", threads=1, middleware=False)(compute)
app.get("/pool/hold/{us}", threads=1, middleware=False)(hold)


def main() -> None:
    options: Dict[str, Any] = {"port": int(sys.argv[sys.argv.index("--port") + 1])}
    for word in sys.argv[1:]:
        name, equals, value = word.partition("=")
        if equals:
            options[name] = int(value) if value.isdigit() else value
    if "middleware" in options:
        app.middleware(MIDDLEWARE[options.pop("middleware")])
    app.run(**options)


if __name__ == "__main__":
    main()
