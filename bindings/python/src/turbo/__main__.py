"""python -m turbo: serve the app of an import string."""

import argparse
import sys
from typing import Any, Dict, List, Optional

from . import __version__, settings
from ._native import Server, Setting
from .config import LOOPS, MODES, TASKS, Config, make_config
from .errors import log_to_stderr, logger
from .output import hold_descriptors
from .parallel import CHOICES
from .runner import prepare, serve

EXIT_CODES = """exit codes: 0 stopped, and all that was taken was answered; 1 the app could not be loaded or started; 2 bad
arguments; 3 stopped, and requests that were taken had no answer"""

FAILED, BAD_ARGUMENTS, LOST = 1, 2, 3
LEVELS = ("debug", "info", "warning", "error")


def _add_setting(group: Any, setting: Setting) -> None:
    what = "|".join(setting.choices) if setting.choices else f"{setting.min}..{setting.max} {setting.unit}".strip()
    default = f"; {setting.default}" if setting.default != "" else ""
    group.add_argument(
        "--" + setting.name.replace("_", "-"),
        metavar="WORD" if setting.choices else "N",
        help=f"{setting.doc} [{what}{default}]".replace("%", "%%"),
    )


def make_parser() -> argparse.ArgumentParser:
    """Arguments of run() as flags. What is not given is not there."""
    parser = argparse.ArgumentParser(
        prog="python -m turbo",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("app", help='"package.module:attribute", or "package.module:function()" for one that makes it')
    add("--version", action="version", version=f"turbo {__version__}")
    add("--host", help="address to listen on [127.0.0.1]")
    add("--port", type=int, metavar="N", help="port to listen on; 0 picks a free one [8000]")
    add("--unix", metavar="PATH", help="a unix socket to listen on instead")
    add("--fd", type=int, metavar="N", help="an inherited socket that listens instead")
    add("--parallel", choices=CHOICES, help="how shards run side by side [auto]")
    add("--max-requests", type=int, metavar="N", help="processes: answers behind which one is replaced; 0: never [0]")
    add("--max-requests-jitter", type=int, metavar="N", help="processes: up to so many more, at random [0]")
    add("--start-timeout-ms", type=int, metavar="N", help="processes: for one that takes another's place; 0: none [60000]")
    add("--loop", choices=LOOPS, help="event loop [auto: uvloop where it is installed]")
    add("--task", choices=TASKS, help="task type of coroutines [turbo]")
    add("--mode", choices=MODES, help="a loop for each shard, or one for all [sharded]")
    add("--debug", action="store_true", help="debug mode of the loops, and --slow-ms 100")
    add("--slow-ms", type=int, metavar="N", help="log handlers that hold up their shard for longer; 0: do not")
    add("--switch-interval-us", type=int, metavar="N", help="when a thread lets go of the GIL; 0: Python's own")
    add("--log-level", choices=LEVELS, default="info", help="of turbo's own log, on standard error [info]")
    group = parser.add_argument_group("settings of the library, also TURBO_... in the environment (docs/settings.md)")
    for setting in settings():
        _add_setting(group, setting)
    return parser


def _check(config: Config) -> None:
    """Have the library look at the settings, before anything of the app's runs."""
    Server(config.settings, config.defaults())


def main(arguments: Optional[List[str]] = None) -> int:
    """The exit code."""
    given: Dict[str, Any] = vars(make_parser().parse_args(arguments))
    target, level = given.pop("app"), given.pop("log_level")
    log_to_stderr(level)
    hold_descriptors()
    try:
        config = make_config(given.pop("host", "127.0.0.1"), given.pop("port", 8000), given)
        _check(config)
        choice = prepare(target, config)
    except (ValueError, TypeError) as error:
        print(f"python -m turbo: {error}", file=sys.stderr)
        return BAD_ARGUMENTS
    try:
        return LOST if serve(target, config, choice) else 0
    except (Exception, SystemExit):  # an app's sys.exit() would be a code of another meaning
        logger.critical("the app could not be loaded, or started", exc_info=True)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
