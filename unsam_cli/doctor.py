"""What this installation can do: versions, processors, devices, caches, optional parts."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from unsam_cli import __version__
from unsam_cli.run.resources import usable_cpus

Status = Literal["ok", "note", "missing"]

NEEDED = {
    "click": "the command line",
    "rich": "tables and progress on a terminal",
    "numpy": "everything",
    "scipy": "eigenvectors, distances",
    "numba": "fast kernels for masks and merging",
    "h5py": "features files",
    "orjson": "masks files",
    "pillow": "images",
    "pycocotools": "masks",
    "threadpoolctl": "thread counts of the numeric libraries",
    "safetensors": "checkpoints",
    "torch": "networks: extract-features with a network, train, predict",
    "torchvision": "training",
    "timm": "backbones",
    "transformers": "Mask2Former, SAM and SAM 2: train, finetune-sam, predict",
}
OPTIONAL = {
    "huggingface_hub": "downloading weights",
    "matplotlib": "evaluate --plot",
    "tensorboard": "curves of a training run",
    "playwright": "the browser tests of the report",
}
_PLENTY = 2 * 2**30  # bytes; features files arriving on a pipe are spooled to the temporary folder


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes
    ----------
    topic : str
        What was examined.
    status : {'ok', 'note', 'missing'}
        Works; works, with something to know; does not work or is not installed.
    text : str
        One line.
    """

    topic: str
    status: Status
    text: str


def as_text(findings: list[Finding]) -> str:
    """Return findings as a table of plain text, a line each."""
    width = max(len(finding.topic) for finding in findings)
    return "\n".join(f"{f.status:7}  {f.topic:{width}}  {f.text}" for f in findings)


def as_json(findings: list[Finding]) -> str:
    """Return findings as a JSON list."""
    return json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False)


def examine(*, full: bool = True) -> list[Finding]:
    """Look at the installation and the machine.

    Every probe stands alone: what fails is reported as missing, with the error; the others go on.

    Parameters
    ----------
    full : bool
        Import torch, list devices and measure the rates of matrix products, which takes some
        seconds. Otherwise nothing heavy is imported.
    """
    probes: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("unsam", _program),
        ("packages", _packages),
        ("processors", _processors),
        ("commands", _commands),
        ("HDF5", _hdf5),
        ("caches", _caches),
        ("temporary files", _temporary),
    ]
    if full:
        probes += [("devices", _devices), ("speed", _speed)]
    return [finding for topic, probe in probes for finding in _guarded(topic, probe)]


def _guarded(topic: str, probe: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """List what a probe finds; the first error ends it and becomes a finding itself."""
    found: list[Finding] = []
    try:
        found.extend(probe())
    except Exception as error:  # a doctor does not die of the patient's disease
        reason = " ".join(str(error).split()) or "no message"
        found.append(Finding(topic, "missing", f"{type(error).__name__}: {reason:.300}"))
    return found


def _program() -> Iterator[Finding]:
    yield Finding("unsam", "ok", f"{__version__} in {Path(__file__).parent}")
    yield Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Finding("system", "ok", platform.platform())


def _packages() -> Iterator[Finding]:
    """Read versions from the metadata: nothing is imported."""
    for name, use in NEEDED.items():
        version = _version(name)
        if version:
            yield Finding(name, "ok", version)
        else:
            yield Finding(name, "missing", f"needed for {use}: pip install {name}")
    for name, use in OPTIONAL.items():
        version = _version(name)
        text = version or f"not installed; only needed for {use}"
        yield Finding(name, "ok" if version else "note", text)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processors() -> Iterator[Finding]:
    usable, there = usable_cpus(), os.cpu_count() or 1
    text = f"{usable} usable" + (f" of {there} in the machine" if usable < there else "")
    yield Finding("CPUs", "ok", text)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    limits = {name: os.environ[name] for name in names if name in os.environ}
    if limits:
        yield Finding("threads", "note", ", ".join(f"{k}={v}" for k, v in limits.items()))
    import numpy  # noqa: F401  # loads the library whose threads are listed
    from threadpoolctl import threadpool_info

    for pool in threadpool_info():
        threads, name = pool["num_threads"], pool["internal_api"]
        status: Status = "note" if threads > usable else "ok"
        more = f", more than the {usable} usable CPUs" if threads > usable else ""
        yield Finding("threads", status, f"{threads} in {name} {pool.get('version') or ''}{more}")


def _commands() -> Iterator[Finding]:
    """Look for the commands: a zip archive of the sources loses the link to them."""
    folder = Path(__file__).parent / "commands"
    if (folder / "__init__.py").is_file():
        link = "link to " if folder.is_symlink() else ""
        yield Finding("commands", "ok", f"{link}{folder.resolve()}")
    elif find_spec("unsam_cli.commands"):
        yield Finding("commands", "ok", "mapped by the installation")
    else:
        yield Finding(
            "commands", "missing", f"{folder} is not a folder: install with pip install -e ."
        )


def _hdf5() -> Iterator[Finding]:
    import h5py

    locking = os.environ.get("HDF5_USE_FILE_LOCKING")
    yield Finding("HDF5", "ok", h5py.version.hdf5_version)
    if locking is None:
        text = "on by default; on a network file system that refuses locks set it to FALSE"
        yield Finding("HDF5_USE_FILE_LOCKING", "ok", text)
    else:
        yield Finding("HDF5_USE_FILE_LOCKING", "note", f"set to {locking}")


def _caches() -> Iterator[Finding]:
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    folders = {
        "HF_HOME": os.environ.get("HF_HOME", f"{home}/huggingface"),
        "TORCH_HOME": os.environ.get("TORCH_HOME", f"{home}/torch"),
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(Path(__file__).parent)),
    }
    for name, value in folders.items():
        folder = Path(value).expanduser()
        origin = "" if name in os.environ else " (default)"
        if _writable(folder):
            yield Finding(name, "ok", f"{folder}{origin}")
        else:
            cost = "each process compiles the kernels again" if "NUMBA" in name else "no downloads"
            yield Finding(name, "note", f"{folder}{origin} cannot be written: {cost}; set {name}")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        yield Finding("HF_HUB_OFFLINE", "note", "set: weights come from the cache only")


def _writable(folder: Path) -> bool:
    """Tell whether files can be made in a folder, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _temporary() -> Iterator[Finding]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < _PLENTY:
        yield Finding(
            "temporary files", "note", f"{text}; piped features need more space: set TMPDIR"
        )
    else:
        yield Finding("temporary files", "ok", text)


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("torch threads", "ok", str(torch.get_num_threads()))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card: Any = torch.cuda.get_device_properties(index)
            text = f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
            yield Finding(f"cuda:{index}", "ok", text)
    else:
        built = torch.version.cuda
        text = (
            f"torch (built for CUDA {built}) sees no device"
            if built
            else "torch is built without CUDA"
        )
        yield Finding("cuda", "note", text)
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "available")


def _speed() -> Iterator[Finding]:
    """Measure both formats: bfloat16 pays only where it is the faster one."""
    for device in _device_names():
        for dtype in ("float32", "bfloat16"):
            topic = f"speed, {device}"
            yield from _guarded(topic, partial(_product_rate, topic, dtype, device))


def _device_names() -> list[str]:
    """Name the CPU and what torch sees beside it."""
    names = ["cpu"]
    if sys.modules.get("torch"):
        import torch

        names += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        names += ["mps"] * torch.backends.mps.is_available()
    return names


def _product_rate(topic: str, dtype: str, device: str) -> Iterator[Finding]:
    from unsam_cli.backbones.speed import matmul_rate

    rate = matmul_rate(dtype, device)
    yield Finding(topic, "ok", f"{rate / 1e9:,.0f} GFLOP/s of {dtype} matrix products")
