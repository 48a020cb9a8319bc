"""Shards in processes of their own, and the one that watches them."""

from typing import Union

from .app import App
from .config import Config
from .parallel import Choice


def serve(target: Union[App, str], config: Config, choice: Choice) -> int:
    """Serve until SIGINT or SIGTERM. Returns how many requests that were taken had no answer."""
    raise ValueError(f'parallel: "{choice.name}" cannot be: this version of turbo has no processes yet')
