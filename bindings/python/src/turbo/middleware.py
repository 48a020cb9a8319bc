"""Middleware: functions around handlers, made one function when the app starts."""

import inspect
from typing import Any, Awaitable, Callable, List, Tuple

from ._native import Request

Handler = Callable[..., Any]
Middleware = Callable[[Request, Handler], Any]


def is_coroutine_function(fn: Callable[..., Any]) -> bool:
    """Whether calling it runs nothing of it, but makes a coroutine."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))


def _awaitable(handler: Handler) -> Callable[[Request], Awaitable[Any]]:
    """What an async middleware awaits of a function that may return its answer, or an awaitable."""

    async def call_next(request: Request) -> Any:
        result = handler(request)
        return await result if inspect.isawaitable(result) else result

    return call_next


def _around(middleware: Middleware, call_next: Handler) -> Handler:
    def handler(request: Request) -> Any:
        return middleware(request, call_next)

    return handler


def compose(handler: Handler, around: List[Middleware]) -> Tuple[Handler, bool]:
    """The handler with everything around it, the first outermost; and whether calling that only makes a coroutine."""
    is_async = is_coroutine_function(handler)
    for middleware in reversed(around):
        wraps_async = is_coroutine_function(middleware)
        if wraps_async and not is_async:
            handler = _awaitable(handler)
        handler, is_async = _around(middleware, handler), wraps_async
    return handler, is_async


def check_middleware(fn: Any) -> None:
    """TypeError for what cannot be called with a request and the next handler."""
    if not callable(fn):
        raise TypeError(f"a middleware is not callable: {fn!r}")
    try:
        inspect.signature(fn).bind(None, None)
    except TypeError:
        raise TypeError(f"a middleware takes a request and call_next: {fn!r}") from None
    except ValueError:
        pass  # something in C that does not tell
