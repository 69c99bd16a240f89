"""Model folders whose configurations say what no network can be, or what to ask the hub."""

from __future__ import annotations

import copy
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from sam_models import make_sam, make_sam2, picture
from segmenter_models import make_segmenter

from unsam_cli.errors import CheckpointError, MissingInputError, UnsamError
from unsam_cli.models.loading import load_segmenter, save_segmenter
from unsam_cli.prediction.predict import predict_image
from unsam_cli.prediction.settings import PredictSettings
from unsam_cli.sam.loading import load_promptable, save_promptable
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.session import Session
from unsam_cli.sam.settings import Prompt, PromptableConfig

pytestmark = pytest.mark.torch

IMAGE = picture(40, 60)
WRONG: list[Any] = [[], None, "x", 10**9, -1, 10**30, {}, 0, [1, 2], 1.5, True, 1e300, "a/b"]
KINDS = ("mask2former", "eomt", "sam", "sam2", "parts")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    for kind in ("mask2former", "eomt"):
        save_segmenter(make_segmenter(kind, shallow=True), root / kind)
    parts = PromptableConfig(5, granularity=True)
    save_promptable(PromptableModel(make_sam()), root / "sam")
    save_promptable(PromptableModel(make_sam2()), root / "sam2")
    save_promptable(PromptableModel(make_sam(), parts), root / "parts")
    return root


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let the hub be asked for, and note every attempt to reach anything."""
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("there is no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


def use(kind: str, folder: Path) -> None:
    """Do what ``predict`` does with a folder."""
    if kind in ("mask2former", "eomt"):
        predict_image(load_segmenter(str(folder)), IMAGE, PredictSettings(size=(64, 128)))
        return
    session = Session(load_promptable(str(folder)))
    session.set_image(IMAGE)
    session.ask([Prompt(((5.0, 5.0),), (1,)), Prompt(box=(1.0, 1.0, 40.0, 30.0))])


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places(inner, (*at, key))


def changed(content: Any, place: tuple[Any, ...], value: object) -> str:
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "config.json") for kind in KINDS if kind != "parts"),  # it has that of sam
        *((kind, "unsam.json") for kind in KINDS),
    ],
)
def test_any_setting_may_be_wrong(
    kind: str, name: str, folders: Path, tmp_path: Path, no_socket: list[object]
) -> None:
    """It is refused in one line, or does not matter; another wrong value for each place."""
    folder = copied(folders / kind, tmp_path / "model")
    content = json.loads((folder / name).read_bytes())
    for number, place in enumerate(places(content)):
        (folder / name).write_text(changed(content, place, WRONG[number % len(WRONG)]))
        text = str(folder)
        try:
            use(kind, folder)
        except CheckpointError as error:
            text = str(error)
        assert str(folder) in text
        assert "\n" not in text
    assert no_socket == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [["sam"], None, {"a": 1}, 3])
def test_a_type_that_is_no_word_is_refused(
    kind: str, value: object, folders: Path, tmp_path: Path
) -> None:
    folder = copied(folders / kind, tmp_path / "model")
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": value}))
    for load in (load_segmenter, load_promptable):
        with pytest.raises(CheckpointError, match="a model of type"):
            load(str(folder))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", ["nan", "integers"])
def test_what_cannot_be_weights_is_named(
    kind: str, bad: str, folders: Path, tmp_path: Path
) -> None:
    folder = copied(folders / kind, tmp_path / "model")
    (path,) = folder.glob("*.safetensors")
    state = load_file(path)
    name = next(n for n, x in state.items() if x.ndim > 1 and x.is_floating_point())
    kinds = {"nan": state[name] + torch.nan, "integers": state[name].to(torch.int8)}
    save_file({**state, name: kinds[bad]}, path, {"format": "pt"})
    text = {"nan": f"not finite: .* values of {name} are NaN", "integers": f"{name} is int8"}[bad]
    with pytest.raises(CheckpointError, match=text) as caught:
        use(kind, folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_asks_no_network(
    kind: str, folders: Path, tmp_path: Path, no_socket: list[object]
) -> None:
    folder = copied(folders / kind, tmp_path / "model")
    config = json.loads((folder / "config.json").read_bytes())
    more = {
        "auto_map": {"AutoConfig": "owner/name--module.Class"},
        "attn_implementation": "owner/kernel",
        "_attn_implementation": "kernels-community/flash-attn2",
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
        "use_pretrained_backbone": True,
        "_name_or_path": "owner/name",
    }
    (folder / "config.json").write_text(json.dumps({**config, **more}))
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/name"}')
    use(kind, folder)
    assert no_socket == []


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(backbone="microsoft/resnet-50", backbone_config=None),
        lambda c: c.update(backbone="nothing", backbone_config=None, use_timm_backbone=True),
        lambda c: c["backbone_config"].update(backbone="hf-hub:timm/resnet18.a1_in1k"),
        lambda c: c["backbone_config"].update(backbone="timm/resnet18.a1_in1k"),
    ],
)
def test_a_backbone_on_the_hub_is_not_asked_for(
    change: Callable[[Any], None], folders: Path, tmp_path: Path, no_socket: list[object]
) -> None:
    folder = copied(folders / "mask2former", tmp_path / "model")
    config = json.loads((folder / "config.json").read_bytes())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="refers to the backbone"):
        load_segmenter(str(folder))
    assert no_socket == []


def test_a_pickle_in_a_folder_is_refused_in_our_words(folders: Path, tmp_path: Path) -> None:
    folder = copied(folders / "sam", tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"a": print}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a file of tensors only but a pickle") as caught:
        load_promptable(str(folder))
    assert "weights_only" not in str(caught.value)


def test_weights_in_several_files(folders: Path, tmp_path: Path) -> None:
    folder = copied(folders / "sam", tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    parts = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for part, inside in parts.items():
        save_file({n: state[n] for n in inside}, folder / part, {"format": "pt"})
    listed = {name: part for part, inside in parts.items() for name in inside}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": listed}))
    use("sam", folder)
    index.write_text(json.dumps({"weight_map": {**listed, names[0]: "../one.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"names '\.\./one\.safetensors'"):
        use("sam", folder)
    index.write_text(json.dumps({"weight_map": ["one.safetensors"]}))
    with pytest.raises(CheckpointError, match="no weight_map"):
        use("sam", folder)


@pytest.mark.parametrize(
    "name", ["nothing/", "./nothing/", "no/thing/", "a/b.git", "a/../b", "-a/b"]
)
def test_a_folder_that_does_not_exist_is_no_id(name: str, no_socket: list[object]) -> None:
    for load in (load_segmenter, load_promptable):
        with pytest.raises(MissingInputError, match="no such"):
            load(name)
    assert no_socket == []


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:a", "hf-hub:a/b/c", "hf-hub:a/b@"])
def test_an_id_that_cannot_be_is_told(name: str) -> None:
    with pytest.raises(UnsamError, match="is not a hub id"):
        load_segmenter(name)
