"""Two rooms share their names with functions of the Python API: ``divide`` and ``conquer``.

Python sets an imported package as an attribute of its parent, so ``unsam_cli.divide`` is the room
as soon as anything imports it, whatever ``unsam_cli`` defined before. So the room itself can be
called: ``unsam_cli.divide(features)`` works in any order of imports, and
``unsam_cli.divide.maskcut`` still is the module. Python lets a module have another class for such
purposes. The alternatives are worse: other names for the rooms, or for the functions, or an
attribute that depends on what was imported before.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class CallableRoom(ModuleType):
    """A package that can be called as the function of the API with its name."""

    @property
    def _function(self) -> Callable[..., Any]:
        # By name: rooms do not depend on the API, which is above them.
        function: Callable[..., Any] = getattr(
            import_module("unsam_cli.api"), self.__name__.rpartition(".")[2]
        )
        return function

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function of the API."""
        return self._function(*args, **options)


def make_callable(room: str) -> None:
    """Let the package with the full name `room` be called."""
    sys.modules[room].__class__ = CallableRoom
