"""Read datasets of an HDF5 file that may come from an untrusted source.

An HDF5 file can point to other files and to devices, declare a dataset that is larger than the
memory, decompress a few bytes to gigabytes, and refer to one long text a million times. Features
files are simple: every dataset is stored in the file in one piece, and each byte is used once.
"""

from __future__ import annotations

import os

import h5py
import numpy as np

# Reference to a text or bytes of variable length: their place in the file.
_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])


def contained(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset that is stored in the file and is not larger than the file.

    Parameters
    ----------
    file : h5py.File
        An open file.
    name : str
        Name of the dataset, including its group.

    Raises
    ------
    KeyError
        The file has no such dataset.
    ValueError
        It is not a dataset, is stored elsewhere or compressed, or declares more than the file
        contains.
    """
    dataset = _follow(file, name)
    layout = dataset.id.get_create_plist().get_layout()
    if layout == h5py.h5d.CHUNKED:
        # A chunk may decompress to a thousand times its size, whatever the header says.
        raise ValueError(
            f"/{name} is chunked; convert it with h5repack -f NONE -l CONTI IN.h5 OUT.h5"
        )
    if dataset.external or layout != h5py.h5d.CONTIGUOUS:
        raise ValueError(f"/{name} is not stored contiguously in the file")
    there = min(dataset.id.get_storage_size(), os.path.getsize(file.filename))
    if dataset.nbytes > there:
        raise ValueError(f"/{name} should have {dataset.nbytes} bytes but has {there}")
    if dataset.dtype.hasobject:
        _check_references(dataset, name)
    return dataset


def single_values(file: h5py.File) -> h5py.AttributeManager:
    """Return the attributes of the root, each a single value of limited size.

    Raises
    ------
    ValueError
        An attribute is an array, whose entries may share one long text, or declares more than the
        file contains.
    """
    there = os.path.getsize(file.filename)
    for name in file.attrs:
        attribute = h5py.h5a.open(file.id, name.encode())
        if attribute.shape != () or attribute.get_storage_size() > there:
            raise ValueError(f"attribute {name} is not a single value")
    return file.attrs


def _follow(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset without opening what links point to."""
    found = file
    for part in name.split("/"):
        if not isinstance(found, h5py.Group):
            break
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"/{name} is a link to another place")
        found = found[part]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"/{name} is not a dataset")
    return found


def _check_references(dataset: h5py.Dataset, name: str) -> None:
    """Refuse texts that are larger than the file because many entries share one text."""
    file, count = dataset.file, dataset.size
    if not count:
        return
    text = h5py.check_string_dtype(dataset.dtype) or h5py.check_vlen_dtype(dataset.dtype) == "u1"
    known = dataset.id.get_storage_size() == count * _REFERENCE.itemsize
    if not text or not known or file.userblock_size:
        raise ValueError(f"/{name} contains neither text nor bytes")
    with open(file.filename, "rb") as stream:
        stream.seek(dataset.id.get_offset())
        lengths = np.fromfile(stream, _REFERENCE, count)["length"]
    claimed, there = int(lengths.sum(dtype=np.int64)), os.path.getsize(file.filename)
    if claimed > there:
        raise ValueError(f"/{name} should have {claimed} bytes, but the file has {there}")
