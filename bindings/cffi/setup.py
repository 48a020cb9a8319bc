"""All but this is in pyproject.toml, which has no place for it: the extension module that cffi makes."""

from setuptools import setup

setup(cffi_modules=["src/turbo_cffi/_build.py:ffibuilder"])
