"""run(): an app by object or import string, in the way that fits."""

import json
import os
import select
import signal
import threading
import time
from typing import Any, NoReturn, Optional, Union

from . import interpreters, output, supervisor
from .app import App
from .config import Config, make_config
from .errors import logger
from .loading import check_not_loading, load, parse
from .parallel import Choice

Target = Union[App, str]

PROBE_TIMEOUT = 30.0  # seconds for an import, and the end of the interpreter that it was made in


def run(target: Target, host: str = "127.0.0.1", port: int = 8000, **settings: Any) -> int:
    """Serve an App, or the one that "package.module:attribute" names, until SIGINT or SIGTERM.

    Arguments as App.start(), and of `parallel` all that there is: "auto", "gil", "free-threaded", "interpreters",
    "processes". `shards` is how many threads, interpreters or processes. For "processes" only: `max_requests`, after so
    many answers a process is replaced by a new one, plus a random number up to `max_requests_jitter`; 0 never; and
    `start_timeout_ms`, how long one that takes another's place has to get ready before it is killed (60000); 0: no limit.

    Prints a line with the address once connections are accepted. The signal begins a graceful stop: requests that were taken are
    answered, for up to drain_timeout_ms; a second signal ends that, and a third one the process. While on_start runs the signal
    ends the start, and a second one the process. For the main thread; in another one no signals are handled. Returns how many
    requests that were taken had no answer.

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
    """interpreters.refusal(), asked in a process of its own: what the probe leaves behind there, a module that crashes, or one
    that does not come to an end, is none of ours. It ends with this process, however that ends."""
    output.flush()
    said, say = os.pipe()
    alive, held = os.pipe()  # nobody writes; whoever reads it sees the end of this process
    try:
        pid = os.fork()
    except OSError as error:
        for fd in (said, say, alive, held):
            os.close(fd)
        return f"the probe has not been made: {error}"
    if pid == 0:
        os.close(held)
        _probe(target, say, alive)
    os.close(say)
    os.close(alive)
    try:
        text = _hear(said)
    finally:
        os.close(said)
        os.close(held)
        os.kill(pid, signal.SIGKILL)  # it is not waited for yet; one that has ended takes no notice
        status = os.waitpid(pid, 0)[1]
    if text is None:
        return f"loading the app in one of its own, and its end, took over {PROBE_TIMEOUT:g} s: a thread of its import runs on?"
    reason: Optional[str] = json.loads(text) if text else f"the probe has died: {supervisor.status_text(status)}"
    return reason


def _probe(target: str, say: int, alive: int) -> NoReturn:
    """The process of the probe."""
    try:
        threading.Thread(target=_end_behind, args=(alive,), daemon=True).start()
        os.write(say, json.dumps(interpreters.refusal(target)).encode())
    except BaseException as error:
        os.write(say, json.dumps(f"the probe has failed: {error!r}").encode())
    finally:
        os._exit(0)


def _end_behind(alive: int) -> None:
    """End this process when the one that has the other end of the pipe has ended."""
    os.read(alive, 1)
    os._exit(1)


def _hear(said: int) -> Optional[bytes]:
    """All that a pipe gives until its end; None if that does not come in PROBE_TIMEOUT."""
    end = time.monotonic() + PROBE_TIMEOUT
    text = b""
    poll = select.poll()
    poll.register(said, select.POLLIN)
    while poll.poll(max(0.0, end - time.monotonic()) * 1000):
        part = os.read(said, 65536)
        if not part:
            return text
        text += part
    return None


def serve(target: Target, config: Config, choice: Choice) -> int:
    """Serve in the way that was chosen."""
    if choice.name == "processes":
        return supervisor.serve(target, config, choice)
    if choice.name == "interpreters":
        assert isinstance(target, str)
        return interpreters.serve(target, config, choice)
    app = load(target) if isinstance(target, str) else target
    return app._run(config, choice)
