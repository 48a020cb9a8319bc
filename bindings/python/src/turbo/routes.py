"""Routes as they are collected by the decorators, until a server is made of them."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional

from ._native import Request, Server
from .errors import logger
from .middleware import Middleware, compose, is_coroutine_function
from .slow import Watch

Handler = Callable[..., Any]

WEIGHT_MOST = 1 << 40


@dataclass
class Route:
    """One handler: method (None: any that has no handler of its own), pattern, and what the decorator was told."""

    method: Optional[str]
    pattern: str
    handler: Handler
    batch: bool = False
    has_middleware: Optional[bool] = None  # True or False: the decorator says so
    content_type: Optional[str] = None
    weight: Optional[Callable[[Request], int]] = None
    options: Dict[str, Any] = field(default_factory=dict)

    @property
    def pooled(self) -> bool:
        """Whether the handler runs on threads of its shard's pool."""
        return "threads" in self.options

    @property
    def streamed(self) -> bool:
        """Whether the handler begins before the body is there."""
        return self.options.get("body") == "streamed"

    def describe(self, around: List[Middleware]) -> str:
        """What the library is told of it, to compare with the same route in another interpreter."""
        around = self._around(around)
        words = [self.method or "any", self.pattern, f"batch={self.batch}", f"async={compose(self.handler, around)[1]}"]
        words += [] if self.content_type is None else [f"content_type={self.content_type}"]
        return " ".join(words + [f"{name}={value}" for name, value in sorted(self.options.items())])

    def register(self, server: Server, around: List[Middleware], watch: Optional[Watch]) -> None:
        """Hand the route to a server. ValueError or TypeError name the option that is wrong."""
        if around and self.batch and self.has_middleware is None:
            logger.warning("no middleware is around %s, a batch handler; middleware=False says that it need not be", self)
        around = self._around(around)
        handler, is_async = compose(self.handler, around)
        if self.pooled:
            self._check_pooled(around)
        elif watch is not None:
            handler, is_async = watch.wrap(handler), False
        rest = (self.batch, self.pooled, self.content_type, self.options, self.weight)
        try:
            server.route(self.method, self.pattern, handler, is_async, *rest)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError  # UnicodeEncodeError takes more than a text
            raise kind(f"{self}: {error}") from None

    def __str__(self) -> str:
        """For who has to find it in the program."""
        code = getattr(self.handler, "__code__", None)
        where = "" if code is None else f", {code.co_filename}:{code.co_firstlineno}"
        return f"{self.method or 'any method'} {self.pattern} ({getattr(self.handler, '__qualname__', self.handler)}{where})"

    def _around(self, around: List[Middleware]) -> List[Middleware]:
        return [] if self.batch or self.has_middleware is False else around

    def _check_pooled(self, around: List[Middleware]) -> None:
        for middleware in around:
            if is_coroutine_function(middleware):
                raise ValueError(
                    f"threads: {self.pattern} cannot have {middleware!r} around it, a coroutine function, which would "
                    "run the handler on the shard's loop; middleware=False leaves it out"
                )


def _milliseconds(options: Dict[str, Any]) -> None:
    """batch_wait_ms is batch_wait_us in the unit that most people want; parts of a millisecond are allowed."""
    wait = options.pop("batch_wait_ms", None)
    if wait is None:
        return
    if isinstance(wait, bool) or not isinstance(wait, (int, float)):
        raise TypeError(f"batch_wait_ms: {wait!r} is {type(wait).__name__}, expected int or float")
    if not 0 <= wait <= 10000:
        raise ValueError(f"batch_wait_ms: {wait} is out of range, allowed are 0 to 10000")
    options["batch_wait_us"] = round(wait * 1000)


def _weight_max(options: Dict[str, Any], weight: Any, is_batch: bool) -> None:
    """weight_max is batch_weight_max, in the short words of decorators. Check both."""
    most = options.pop("weight_max", None)
    if (weight is None) != (most is None):
        raise ValueError("weight: a function and weight_max need each other")
    if weight is None:
        return
    if not is_batch:
        raise ValueError("weight: for batch handlers only: batch=True, or the most requests that it wants")
    if not callable(weight) or is_coroutine_function(weight):
        raise TypeError(f"weight: {weight!r} is no plain function")
    if isinstance(most, bool) or not isinstance(most, int):
        raise TypeError(f"weight_max: {most!r} is {type(most).__name__}, expected int")
    if not 1 <= most <= WEIGHT_MOST:
        raise ValueError(f"weight_max: {most} is out of range, allowed are 1 to {WEIGHT_MOST}")
    options["batch_weight_max"] = most


def make_route(method: Optional[str], pattern: str, handler: Handler, options: Dict[str, Any]) -> Route:
    """Check what a decorator was given. `batch` is True, or the most requests that the handler wants at once."""
    options = dict(options)
    content_type = options.pop("content_type", None)
    batch = options.pop("batch", False)
    has_middleware = options.pop("middleware", None)
    weight = options.pop("weight", None)
    if not callable(handler):
        raise TypeError(f"the handler of {pattern} is not callable: {handler!r}")
    if content_type is not None and not isinstance(content_type, str):
        raise TypeError(f"content_type: {content_type!r} is {type(content_type).__name__}, expected str")
    if has_middleware is not None and not isinstance(has_middleware, bool):
        raise TypeError(f"middleware: {has_middleware!r} is {type(has_middleware).__name__}, expected bool")
    if has_middleware and batch is not False:
        raise ValueError("middleware: True is not possible for batch handlers, which get many requests at once")
    if options.get("executor", "shard") != "shard":
        raise ValueError(f"executor: {options['executor']!r} is not possible for Python handlers, allowed is 'shard'")
    if "threads" in options and (batch is not False or is_coroutine_function(handler)):
        raise ValueError("threads: not possible for coroutine functions and batch handlers, which run on the shard")
    if options.get("body") == "streamed" and (batch is not False or not is_coroutine_function(handler)):
        raise ValueError('body: "streamed" is for coroutine functions, which can wait for the body, and not for batches')
    if isinstance(batch, int) and not isinstance(batch, bool):
        options["batch_max"] = batch
    elif not isinstance(batch, bool):
        raise TypeError(f"batch: {batch!r} is {type(batch).__name__}, expected bool or int")
    _milliseconds(options)
    if options.get("batch_wait_us") and batch is False:
        raise ValueError("batch_wait_ms: for batch handlers only: batch=True, or the most requests that it wants")
    _weight_max(options, weight, batch is not False)
    return Route(method, pattern, handler, batch is not False, has_middleware, content_type, weight, options)
