"""An App by its import string."""

import importlib
import os
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Iterator, List, Tuple

from .app import App

FORM = '"package.module:attribute"'

_loading: List[str] = []  # modules whose import has begun


def check_not_loading() -> None:
    """RuntimeError in the import of a module that load() imports: what runs there would run again and again."""
    if _loading:
        raise RuntimeError(
            f'"{_loading[-1]}" calls run() when it is imported, and is being imported for its app: put the call under '
            'if __name__ == "__main__":'
        )


def parse(target: str) -> Tuple[str, str, bool]:
    """Module, attribute, and whether that is a function which makes the app. ValueError for another form."""
    module, colon, attribute = target.partition(":")
    makes = attribute.endswith("()")
    attribute = attribute[:-2] if makes else attribute
    names = module.split(".") + attribute.split(".")
    if not colon or not all(name.isidentifier() for name in names):
        raise ValueError(f'app: "{target}" is no import string, expected {FORM}, or "package.module:function()"')
    return module, attribute, makes


def load(target: str) -> App:
    """The App that "package.module:attribute" names, or that "package.module:function()" returns.

    The current directory is looked in, too, unless Python was told to leave it (-P). Raises ValueError when target has
    another form, ImportError when the module or the attribute is missing, TypeError when it is no App, and whatever the
    module, or the function, raises.
    """
    name, attribute, makes = parse(target)
    _add_directory()
    importlib.invalidate_caches()
    with _while_loading(name):
        module = _import(name)
        found = _find(module, attribute)
        app = found() if makes and callable(found) else found
    if makes and not callable(found):
        raise TypeError(f'app: "{name}:{attribute}" is {_kind(found)}, not a function that makes one')
    if not isinstance(app, App):
        hint = f'; a function that makes one is named "{target}()"' if callable(app) and not makes else ""
        raise TypeError(f'app: "{target}" is {_kind(app)}, expected turbo.App{hint}')
    return app


def _kind(found: Any) -> str:
    return f"the class {found.__qualname__}" if isinstance(found, type) else f"of type {type(found).__qualname__}"


def _add_directory() -> None:
    here = os.getcwd()
    if not getattr(sys.flags, "safe_path", False) and "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)


@contextmanager
def _while_loading(name: str) -> Iterator[None]:
    _loading.append(name)
    try:
        yield
    finally:
        _loading.pop()


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ImportError(f'app: there is no module "{error.name}"', name=name) from error
        raise ImportError(f'app: "{name}" cannot be imported: {error}', name=name) from error
    except ImportError as error:
        raise ImportError(f'app: "{name}" cannot be imported: {error}', name=name) from error


def _find(module: ModuleType, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            apps = ", ".join(key for key, value in vars(module).items() if isinstance(value, App)) or "none"
            raise ImportError(
                f'app: "{module.__name__}" has no "{attribute}"; apps in it: {apps}', name=module.__name__
            ) from error
    return found
