"""run(): an app by object or import string, in the way that fits."""

import json
import os
from typing import Any, Optional, Union

from . import interpreters, output, supervisor
from .app import App
from .config import Config, make_config
from .errors import logger
from .loading import check_not_loading, load, parse
from .parallel import Choice

Target = Union[App, str]


def run(target: Target, host: str = "127.0.0.1", port: int = 8000, **settings: Any) -> int:
    """Serve an App, or the one that "package.module:attribute" names, until SIGINT or SIGTERM.

    Arguments as App.start(), and of `parallel` all that there is: "auto", "gil", "free-threaded", "interpreters",
    "processes". `shards` is how many threads, interpreters or processes. For "processes" only: `max_requests`, after so
    many answers a process is replaced by a new one, plus a random number up to `max_requests_jitter`; 0 never.

    Prints a line with the address once connections are accepted. The signal begins a graceful stop: requests that were taken are
    answered, for up to drain_timeout_ms; a second signal ends that. For the main thread; in another one no signals are
    handled. Returns how many requests that were taken had no answer.

    Raises what load() and App.start() raise.
    """
    output.hold_descriptors()
    config = make_config(host, port, settings)
    return serve(target, config, prepare(target, config))


def prepare(target: Target, config: Config) -> Choice:
    """Choose the way, and log it. ValueError, TypeError: what was asked for cannot be."""
    check_not_loading()
    if isinstance(target, str):
        parse(target)
    elif not isinstance(target, App):
        raise TypeError(f'app: {target!r} is {type(target).__name__}, expected turbo.App or "package.module:attribute"')
    return config.choose(target if isinstance(target, str) else None, refusal)


def refusal(target: str) -> Optional[str]:
    """interpreters.refusal(), asked in a process of its own: what the probe leaves behind there, or a module that crashes, is
    none of ours."""
    output.flush()
    read, write = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(read)
        os.close(write)
        return f"the probe has not been made: {error}"
    if pid == 0:
        try:
            os.write(write, json.dumps(interpreters.refusal(target)).encode())
        except BaseException as error:
            os.write(write, json.dumps(f"the probe has failed: {error!r}").encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as said:
        text = said.read()
    status = os.waitpid(pid, 0)[1]
    reason: Optional[str] = json.loads(text) if text else f"the probe has died: {supervisor.status_text(status)}"
    return reason


def serve(target: Target, config: Config, choice: Choice) -> int:
    """Serve in the way that was chosen."""
    if choice.name == "processes":
        return supervisor.serve(target, config, choice)
    if choice.name == "interpreters":
        assert isinstance(target, str)
        return interpreters.serve(target, config, choice)
    app = load(target) if isinstance(target, str) else target
    return app._run(config, choice)
