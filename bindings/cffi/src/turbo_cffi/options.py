"""Settings of servers and options of routes."""

import operator
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ._turbo import ffi, lib
from .callbacks import Kept
from .errors import NULL, Error, check, string_of, text
from .request import Request

Placement = Callable[[Request, int], int]
Weight = Callable[[Request], Optional[int]]
WEIGHT_MOST = (1 << 64) - 1


class Setting(NamedTuple):
    """One line of the table of settings. A word has its place in `choices` as value."""

    name: str
    unit: str
    choices: Tuple[str, ...]
    minimum: int
    maximum: int
    default: int
    doc: str


def settings() -> List[Setting]:
    """Every setting that Options takes."""
    found = []
    numbers = ffi.new("uint64_t[3]")
    for i in range(lib.turbo_setting_count()):
        check(lib.turbo_setting_range(i, numbers, numbers + 1, numbers + 2))
        words = lib.turbo_setting_type(i) == lib.TURBO_SETTING_ENUM
        choices = tuple(string_of(lib.turbo_setting_choices(i)).split("|")) if words else ()
        name, unit = string_of(lib.turbo_setting_name(i)), string_of(lib.turbo_setting_unit(i))
        found.append(Setting(name, unit, choices, *numbers, string_of(lib.turbo_setting_doc(i))))
    return found


class Options:
    """The settings of a server: Options(shards=2, placement="route"). One thread at a time."""

    def __init__(self, **values: Union[int, str]) -> None:
        out = ffi.new("turbo_options **")
        check(lib.turbo_options_new(out))
        self.ptr = ffi.gc(out[0], lib.turbo_options_free)
        for name, value in values.items():
            self.set(name, value)

    def _check(self, code: int) -> None:
        if code < 0:
            raise Error(code, string_of(lib.turbo_options_error(self.ptr)))

    def set(self, name: str, value: Union[int, str]) -> None:
        """Set from text or from a number; the error names the setting, the value and what is allowed."""
        if isinstance(value, int) and 0 <= value < 1 << 64:
            self._check(lib.turbo_options_set_u64(self.ptr, text(name), value))
        else:  # a number that is none in C: the library refuses the text, and says why
            self._check(lib.turbo_options_set(self.ptr, text(name), text(str(value))))

    def get(self, name: str) -> int:
        """The value that was set, else the default."""
        out = ffi.new("uint64_t *")
        check(lib.turbo_options_get_u64(self.ptr, text(name), out), name)
        return int(out[0])

    def load_env(self) -> None:
        """Take TURBO_BATCH_MAX and so on from the environment."""
        self._check(lib.turbo_options_load_env(self.ptr))

    def load_args(self, arguments: Sequence[str]) -> List[str]:
        """Take --batch-max and so on from arguments without the program's name. Returns what is left."""
        keep = [ffi.new("char[]", text(argument)) for argument in ("", *arguments)]
        argv = ffi.new("char *[]", [*keep, NULL])
        argc = ffi.new("int *", len(keep))
        self._check(lib.turbo_options_load_args(self.ptr, argc, argv))
        return [ffi.string(argv[i]).decode() for i in range(1, argc[0])]


class RouteOptions:
    """The options of a route: RouteOptions(executor="inline"), RouteOptions(placement=function). A function is called
    as placement(request, shards) on I/O loops, several at once, and returns the number of a shard. Of a batch route
    RouteOptions(weight=function, batch_weight_max=4096): weight(request) is called on the shard's thread. One thread at a
    time; functions are kept alive by the servers that have such a route."""

    def __init__(self, **values: Union[int, str, Placement, Weight]) -> None:
        out = ffi.new("turbo_route_options **")
        check(lib.turbo_route_options_new(out))
        self.ptr = ffi.gc(out[0], lib.turbo_route_options_free)
        self.kept: Dict[str, Kept] = {}
        for name, value in values.items():
            self.set(name, value)

    def set(self, name: str, value: Union[int, str, Placement, Weight]) -> None:
        if callable(value):
            if name not in ("placement", "weight"):
                raise TypeError(f"{name} takes no function")
            getattr(self, "set_" + name)(value)
        elif isinstance(value, int) and 0 <= value < 1 << 64:
            self._check(lib.turbo_route_options_set_u64(self.ptr, text(name), value))
        else:
            self._check(lib.turbo_route_options_set(self.ptr, text(name), text(str(value))))

    def set_placement(self, function: Optional[Placement]) -> None:
        """Choose shards by a function; None takes it back."""
        if function is None:
            check(lib.turbo_route_options_set_placement(self.ptr, NULL, NULL))
            self.kept.pop("placement", None)
            return
        place = function

        def choose(req: Any, shards: int) -> int:
            return place(Request(req, None), shards)

        kept = self.kept["placement"] = Kept(choose)
        check(lib.turbo_route_options_set_placement(self.ptr, lib.turbo_py_placement, kept.pointer))

    def set_weight(self, function: Optional[Weight]) -> None:
        """Weigh requests of a batch route by a function, which goes with the option batch_weight_max; None takes it back.
        It returns an int, or None for a request that joins no batch, as it has answered it or will. An exception is
        logged, and the request answered 500 if it has no answer."""
        if function is None:
            check(lib.turbo_route_options_set_weight(self.ptr, NULL, NULL))
            self.kept.pop("weight", None)
            return
        weigh = function

        def put(out: Any, req: Any) -> int:
            weight = weigh(Request(req, None))
            if weight is None:
                return 0
            out[0] = min(operator.index(weight), WEIGHT_MOST)  # a negative one is refused by cffi
            return 1

        kept = self.kept["weight"] = Kept(put)
        check(lib.turbo_route_options_set_weight(self.ptr, lib.turbo_py_weight, kept.pointer))

    def _check(self, code: int) -> None:
        if code < 0:
            raise Error(code, string_of(lib.turbo_route_options_error(self.ptr)))
