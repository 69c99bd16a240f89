"""Settings classes: what they refuse, and the options that are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from unsam_cli.cli.settings import field_options, settings_options
from unsam_cli.errors import UsageError
from unsam_cli.settings import REQUIRED, Settings, setting


@dataclass(frozen=True)
class Baking(Settings):
    heat: int = setting(180, "Heat of the oven, in degrees.", least=50, most=250)
    minutes: float | None = setting(None, "Time.", above=0)
    share: float = setting(0.5, "Share of butter.", least=0, below=1, option="butter")
    layers: tuple[float, ...] = setting((1, 2.5), "Layers, in cm.", above=0, metavar="LIST")
    range: tuple[int, int] | None = setting(None, "Two numbers.")
    mode: str = setting("fan", "How to heat.", choices=("fan", "grill"))
    slow: bool = setting(False, "Take time.", results=False)
    size: int = setting(3, "Size.", default_text="3, of cakes 4")
    hidden: str = "no option"
    shelf: int = setting(lambda: 7, "Shelf.", short="-s", default_text="the one in the middle")
    tin: Path | None = setting(None, "Where it is baked.", folder=True)


@dataclass(frozen=True)
class Eating(Settings):
    guests: int = setting(REQUIRED, "Number of guests.", least=1)
    late: bool = setting(False, "Begin later.")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"heat": 49}, "heat is 49; it must be at least 50 and at most 250"),
        ({"heat": 251}, "heat is 251"),
        ({"minutes": 0}, "minutes is 0; it must be more than 0"),
        ({"share": 1.0}, "share is 1.0; it must be at least 0 and less than 1"),
        ({"share": float("nan")}, "share is nan"),
        ({"layers": (1.0, -1.0)}, "layers is -1.0"),
        ({"mode": "boil"}, "mode is 'boil'; choose fan or grill"),
        ({"mode": None}, "mode is None"),
    ],
)
def test_values_outside_the_range_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Baking(**values)


def run(*words: str, **how: Any) -> Any:
    seen = []

    @click.command()
    @settings_options("cake", Baking, **how)
    def bake(cake: Any) -> None:
        seen.append(cake)

    ran = CliRunner().invoke(bake, words)
    return seen[0] if seen else ran.output


def test_options_have_the_defaults_of_the_class() -> None:
    assert run() == Baking()


def test_options_are_read_as_their_fields_are_declared() -> None:
    words = "--heat 200 --minutes 1.5 --butter 0.25 --layers 3,4 --range 1,2 --mode grill --slow"
    expected = Baking(200, 1.5, 0.25, (3.0, 4.0), (1, 2), "grill", True)
    assert run(*words.split(), "--size", "3") == expected


@pytest.mark.parametrize(
    "words",
    ["--heat 300", "--butter 1", "--layers 1,x", "--range 1", "--range 1,2.5", "--hidden x"],
)
def test_what_the_class_refuses_is_a_usage_error(words: str) -> None:
    assert words.split()[0] in run(*words.split())


def test_short_names_folders_and_defaults_that_depend_on_the_machine(tmp_path: Path) -> None:
    assert run().shelf == 7
    assert run("-s", "3", "--tin", str(tmp_path)) == Baking(shelf=3, tin=tmp_path)
    assert "is a file" in run("--tin", __file__)
    assert "[default: the one in the middle]" in run("--help")


def test_single_fields_reach_the_command_by_their_names() -> None:
    @click.command()
    @field_options(Eating, "guests")
    def eat(guests: int) -> None:
        click.echo(guests + 1)

    assert CliRunner().invoke(eat, ["--guests", "3"]).output == "4\n"
    assert "Missing option '--guests'" in CliRunner().invoke(eat, []).output
    assert "no such option" in CliRunner().invoke(eat, ["--late"]).output.lower()


def test_only_what_was_given_arrives_where_the_class_is_chosen_later() -> None:
    assert run(unset=True) == {}
    assert run("--butter", "0.25", "--slow", unset=True) == {"share": 0.25, "slow": True}
    assert run("--butter", "0", unset=True) == {"share": 0.0}


def test_the_help_tells_ranges_and_defaults() -> None:
    shown = " ".join(run("--help").split())
    assert "Heat of the oven, in degrees. [default: 180; 50<=x<=250]" in shown
    assert "--layers LIST Layers, in cm. [default: 1,2.5]" in shown
    assert "Size. [default: 3, of cakes 4]" in shown
    shown = " ".join(run("--help", unset=True).split())
    assert "Share of butter. [default: 0.5]" in shown
