"""SciPy's .npz of a sparse matrix: read without unpickling, mapped from the file where it can be."""

from __future__ import annotations

import io
import math
import shutil
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from l0_calibrate.memory import can_unmap
from l0_core import InputError

_ALIGNMENT = 64
"""Bytes: a mapped array must start at a multiple of its item size; 64 is also that of vector units."""

_PADDING_FIELD = 0xD935
"""Id of the zip extra field that only pads (the one that Android's zipalign writes)."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    SyntaxError,
    MemoryError,  # a header that claims more than there is
    RuntimeError,  # a member that says it is encrypted, or of a zip version to come (NotImplementedError)
)
"""What the readers of zip and .npy raise on bytes that are not what they say."""

_WORTH_UNPACKING = 2**20
"""Bytes: smaller arrays are read into memory."""

_PIECE = 2**16
"""Bytes that are unpacked at a time."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


def read_csr(path: Path) -> Any:
    """The matrix of a .npz file as SciPy wrote it (CSR, CSC, COO, BSR or DIA), its arrays read-only.

    Members that were stored without compression at an aligned place are mapped from the file. Others are unpacked into
    a temporary file that has no name (where Python's `tempfile` puts it, and there is room) and mapped from there.

    Raises
    ------
    InputError
        The file is missing, cut off, not of this format, or holds pickled objects (never unpickled).
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {info.filename.removesuffix(".npy"): _member(path, archive, info) for info in archive.infolist()}
        return _sparse(parts, path)
    except InputError:
        raise
    except _DAMAGE as fault:
        raise InputError(
            f"{path} cannot be read as a sparse matrix (.npz of scipy.sparse.save_npz): {fault}"
        ) from fault


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{info.filename} has the unknown .npy version {version}")
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(stream)
        if dtype.hasobject:
            raise InputError(f"{path}: {info.filename} holds pickled objects, which are never unpickled; save numbers")
        header = stream.tell()
    if info.compress_type == zipfile.ZIP_STORED and shape and 0 not in shape and not fortran:
        with path.open("rb") as raw:
            raw.seek(info.header_offset)
            local = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
        offset = info.header_offset + _LOCAL_HEADER.size + local[9] + local[10] + header
        if offset % max(dtype.itemsize, 1) == 0:
            return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape).view(np.ndarray)
    if not fortran and (unpacked := _unpacked(archive, info, header, shape, dtype)) is not None:
        return unpacked
    with archive.open(info) as stream:
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    holder: Any = array
    while isinstance(holder, np.ndarray):  # what it is a view of as well: it need not be copied to be kept as it is
        holder.setflags(write=False)
        holder = holder.base
    return array


def _unpacked(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any] | None:
    """A member mapped from a temporary file, which goes with the array; None where it is small or has no room.

    A system that cannot be told to give mapped memory back (`give_back_mapped`) gains nothing by it: None as well.
    """
    size = info.file_size - header
    if size < _WORTH_UNPACKING or size != math.prod(shape) * dtype.itemsize or not can_unmap():
        return None
    try:
        if shutil.disk_usage(tempfile.gettempdir()).free < 2 * size:  # half of what is left stays for others
            return None
        with tempfile.TemporaryFile() as file, archive.open(info) as stream:
            stream.read(header)
            shutil.copyfileobj(stream, file, _PIECE)
            file.flush()
            return np.memmap(file, dtype=dtype, mode="r", shape=shape).view(np.ndarray)
    except OSError:  # nowhere to write, or full; a fault of the archive's own comes again when it is read into memory
        return None


def _sparse(parts: dict[str, npt.NDArray[Any]], path: Path) -> Any:
    if "format" not in parts or "shape" not in parts:
        have = ", ".join(sorted(parts)) or "nothing"
        raise InputError(f"{path} is not a sparse matrix of scipy.sparse.save_npz; it holds: {have}")
    name = parts["format"].item()
    name = name.decode("ascii") if isinstance(name, bytes) else str(name)
    shape = tuple(int(length) for length in parts["shape"])
    if name in ("csr", "csc", "bsr"):
        make = {"csr": sp.csr_array, "csc": sp.csc_array, "bsr": sp.bsr_array}[name]
        return make((parts["data"], parts["indices"], parts["indptr"]), shape=shape, copy=False)
    if name == "coo":
        return sp.coo_array((parts["data"], (parts["row"], parts["col"])), shape=shape)
    if name == "dia":
        return sp.dia_array((parts["data"], parts["offsets"]), shape=shape)
    raise InputError(f"{path} holds a sparse matrix of the unknown format {name!r}")


def write_csr(path: Path, matrix: sp.csr_array) -> None:
    """Write a CSR matrix as `scipy.sparse.load_npz` and `read_csr` read it, uncompressed and aligned."""
    parts: dict[str, npt.NDArray[Any]] = {
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "data": matrix.data,
        "format": np.array(b"csr"),
        "shape": np.array(matrix.shape),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in parts.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.file_size = header.tell() + array.nbytes
            start = archive.fp.tell() if archive.fp is not None else 0
            before = start + _LOCAL_HEADER.size + len(info.filename) + 4 + header.tell()
            padding = -before % _ALIGNMENT
            info.extra = struct.pack("<HH", _PADDING_FIELD, padding) + bytes(padding)
            with archive.open(info, "w") as stream:
                stream.write(header.getvalue())
                flat = np.ascontiguousarray(array).reshape(-1)
                for first in range(0, flat.size, 1 << 22):  # in pieces, so that no second copy is held
                    stream.write(flat[first : first + (1 << 22)].tobytes())
