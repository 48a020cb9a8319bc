"""Shards in interpreters of their own, each with its own GIL."""

from typing import Optional

from .config import Config
from .parallel import Choice


def refusal(target: str) -> Optional[str]:
    """Why the app of that import string does not load in an interpreter of its own, or None if it does."""
    return "this version of turbo has no interpreters yet"


def serve(target: str, config: Config, choice: Choice) -> int:
    """Serve until SIGINT or SIGTERM. Returns how many requests that were taken had no answer."""
    raise ValueError(f'parallel: "{choice.name}" cannot be: {refusal(target)}')
