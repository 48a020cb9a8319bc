"""Exceptions that are answers, and the log of those that are not."""

import inspect
import logging
from typing import Any, Callable, List, Optional, Union

from ._native import Request, Response
from ._types import Body, Headers

__all__ = ["BodyError", "ClientDisconnect", "HTTPError", "logger"]

logger = logging.getLogger("turbo")
stderr_level: Optional[str] = None  # that of log_to_stderr(), once it was called


def log_to_stderr(level: str) -> None:
    """Have the logger "turbo" write what has at least this level to standard error."""
    global stderr_level
    stderr_level = level
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("turbo[%(process)d]: %(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False  # the app's own handlers of the root logger would say it twice


class HTTPError(Exception):
    """An answer raised as an exception: not logged, not a 500.

    `status` is 200 to 599 (400 to 599 by custom); `body` is what a handler may return, None for the status alone.
    """

    def __init__(self, status: int, body: Body = None, headers: Optional[Headers] = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers

    def response(self) -> Response:
        """The answer. Called once for each request that it answers."""
        kind = "text/plain; charset=utf-8" if isinstance(self.body, str) else None
        return Response(self.body, self.status, self.headers, None if self.headers else kind)


class BodyError(Exception):
    """A streamed request body came to no good end: too long, malformed, with trailers or chunk extensions that are too large,
    stalled, or no memory for it. A handler that lets it pass is answered for with the status that fits (413, 400, 431, 408,
    or shed_status), and nothing is logged. The connection ends."""


class ClientDisconnect(ConnectionError):
    """The client went while its request body was read."""


def bad_json(cause: BaseException) -> HTTPError:
    """What request.json() raises when the body is no JSON."""
    return HTTPError(400, f"malformed JSON: {cause}\n")


def check_exception_class(kind: Any) -> None:
    """TypeError for what an exception handler cannot be for."""
    if not isinstance(kind, type) or not issubclass(kind, Exception):
        raise TypeError(f"an exception handler is for a class of exceptions below Exception, not {kind!r}")


def keep_context(handler: Callable[..., Any]) -> Callable[..., Any]:
    """An exception handler whose own exceptions say which one they came from."""

    def add(error: BaseException, context: BaseException) -> None:
        if error is not context and error.__context__ is None:
            error.__context__ = context

    async def wait(result: Any, exception: BaseException) -> Any:
        try:
            return await result
        except BaseException as error:
            add(error, exception)
            raise

    def handle(request: Request, exception: BaseException) -> Any:
        try:
            result = handler(request, exception)
        except BaseException as error:
            add(error, exception)
            raise
        return wait(result, exception) if inspect.isawaitable(result) else result

    return handle


def _name(owner: Union[Request, List[Request]]) -> str:
    if isinstance(owner, list):
        return f"batch of {len(owner)} for {owner[0].method} {owner[0].route}"
    return f"{owner.method} {owner.path}"


def log_failure(owner: Union[Request, List[Request]], exception: BaseException) -> None:
    """Log what a handler raised, with its traceback, to the logger "turbo"."""
    logger.error("handler failed: %s", _name(owner), exc_info=(type(exception), exception, exception.__traceback__))
