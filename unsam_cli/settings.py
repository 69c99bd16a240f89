"""A setting is declared once, as a field of a dataclass: default, range, choices and help.

From Python the class is used as it is, and refuses values outside the range. The command line makes
its options of the same fields, see :func:`unsam_cli.cli.settings.settings_options`. Imports nothing
heavy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal

from unsam_cli.errors import UsageError

_KEY = "unsam"
REQUIRED = MISSING
"""In the place of a default: the value has to be given."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Declaration of a setting, apart from its name, type and default.

    Parameters
    ----------
    help : str
        A sentence, with the unit.
    group : str
        The heading of the option on the help page.
    least, most : float, optional
        The range, inclusive.
    above, below : float, optional
        The range, exclusive.
    choices : sequence of str
        The values of a text; any text if empty.
    metavar : str, optional
        How the help page shows the value.
    option : str, optional
        The name of the option, where it is not that of the field.
    short : str, optional
        A second name of one letter, such as ``-o``.
    folder : bool
        A path is that of a folder.
    default_text : str, optional
        What the help page says of a default that depends on something else: the option then has
        none, and the field's default is used where nothing else is chosen.
    results : bool or 'changed'
        Whether it changes results: then it is recorded in outputs and compared by ``--resume``;
        'changed' records only values other than the default, of a setting that came later.
    """

    help: str
    group: str = "Method"
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Sequence[str] = ()
    metavar: str | None = None
    option: str | None = None
    short: str | None = None
    folder: bool = False
    default_text: str | None = None
    results: bool | Literal["changed"] = True

    def check(self, name: str, value: Any) -> None:
        """Raise a UsageError if `value` is not one of the choices, or outside the range."""
        if self.choices and value not in self.choices:
            raise UsageError(f"{name} is {value!r}; choose {' or '.join(self.choices)}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not self._allows(number):
                raise UsageError(f"{name} is {number}; it must be {self.range}")

    def _allows(self, number: float) -> bool:
        return not (
            math.isnan(number)
            or (self.least is not None and number < self.least)
            or (self.most is not None and number > self.most)
            or (self.above is not None and number <= self.above)
            or (self.below is not None and number >= self.below)
        )

    @property
    def range(self) -> str:
        """The range in words."""
        limits = {
            "at least": self.least,
            "more than": self.above,
            "at most": self.most,
            "less than": self.below,
        }
        said = [f"{words} {limit}" for words, limit in limits.items() if limit is not None]
        return " and ".join(said) or "a number"


def setting(default: Any, help: str, **declared: Any) -> Any:  # noqa: A002
    """Declare a field of a settings class; see :class:`Declared` for the keywords.

    A function as `default` makes the default of each object; `REQUIRED` is none.
    """
    usual = {"default_factory" if callable(default) else "default": default}
    return field(**usual, metadata={_KEY: Declared(help=help, **declared)})


def device_setting() -> Any:
    """Declare the device of a network."""
    return setting(
        "auto",
        "Device that computes; auto uses a GPU if there is one.",
        group="Compute",
        results=False,
        metavar="auto|cpu|cuda[:N]|mps",
    )


def crowds_setting(**declared: Any) -> Any:
    """Declare what happens to crowd regions, see :func:`setting`."""
    return setting(
        "ignore",
        "Crowd regions (iscrowd is 1): ignore them, or count them as masks. Some tools mark "
        "every RLE as a crowd.",
        choices=("ignore", "masks"),
        results="changed",
        **declared,
    )


def declared_fields(settings: Any) -> Iterator[tuple[Field[Any], Declared]]:
    """Yield the fields of a class, or of an object, that :func:`setting` declared."""
    for one in fields(settings):
        if _KEY in one.metadata:
            yield one, one.metadata[_KEY]


class Settings:
    """Base of frozen dataclasses of settings: refuses values outside the declared ranges.

    Raises
    ------
    UsageError
        A value is outside its range, or not one of its choices. None is allowed where it is the
        default.
    """

    def __post_init__(self) -> None:
        for one, declared in declared_fields(self):
            value = getattr(self, one.name)
            if value is not None or one.default is not None:
                declared.check(one.name, value)
