"""File of a bundle: one `.safetensors` file with a network once and the tensors of every task on it.

Tensors are in parts: ``base`` has the base network's, ``shared`` those that all tasks overwrite, ``tasks/<task>``
those of one task. A tensor's key is its part, ``/`` and its name in the network. The metadata contain the header
(`bundle_header`) as JSON, and the SHA-256 of this text. The header contains the SHA-256 of every part, so that the
checksums cover the whole file. `docs/file-format.md` describes the format for readers in other languages.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from palimpsest.errors import StorageError
from palimpsest.storage.atomic import write_bytes
from palimpsest.storage.bit_code import decoded_bits
from palimpsest.storage.bundle_header import (
    Header,
    Part,
    TaskEntry,
    header_of,
    header_sha256,
    header_text,
    unique_keys,
)
from palimpsest.storage.task_file import serialised

NAME, VERSION, OLDEST = "palimpsest bundle", 3, 1
FORMAT = f"{NAME} {VERSION}"
"""Name and version of the file's format. Before format 3, bits are packed and never coded. In format 1, every
BatchNorm has its statistics; its tasks of `coded` have other tensors, and are refused when their weights are
computed."""
BASE, SHARED, TASKS = "base", "shared", "tasks/"
"""Names of the base network's part and of the shared part; prefix of the names of the tasks' parts."""
LONGEST_VERSION = 9
"""Largest number of digits of a version; Python refuses to read numbers of more than 4300 digits."""
MAX_HEADER = 2**26
"""Largest accepted header, in bytes."""
DATA_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.uint8: "U8", torch.int8: "I8", torch.int64: "I64"}
"""Names in the file of the types of tensors."""

PartTensors = Mapping[str, Tensor]
"""Tensors of one part by their names in the network."""


@dataclass(frozen=True)
class BundleFile:
    """Content of a bundle's file."""

    path: Path
    header: Header
    parts: Mapping[str, PartTensors]
    """Tensors by part, as stored."""
    sha256: str
    """SHA-256 of the header, which contains those of the parts."""

    @property
    def number_of_values(self) -> int:
        """Number of values of all tensors, as stored."""
        return sum(tensor.numel() for part in self.parts.values() for tensor in part.values())

    def decoded(self, entry: TaskEntry, tensors: PartTensors) -> dict[str, Tensor]:
        """Return tensors of a task with packed bits in place of codes.

        Raises:
            StorageError: a code is damaged, or its shape has more bytes than the file has values.
        """
        try:
            return decoded_bits(tensors, entry.coded, self.number_of_values)
        except StorageError as error:
            raise unusable(self.path, f"the task {entry.name!r}: {error}") from error


def part_sha256(tensors: PartTensors) -> str:
    """Return the SHA-256 of a part: of name, type and shape of each tensor as text, and its bytes, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        shape = ",".join(map(str, tensor.shape))
        digest.update(f"{name} {DATA_TYPES[tensor.dtype]} {shape}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_parts(parts: Mapping[str, PartTensors]) -> dict[str, Part]:
    """Return the header's entries of parts."""
    return {
        name: Part(sha256=part_sha256(tensors), bytes=sum(tensor.nbytes for tensor in tensors.values()))
        for name, tensors in parts.items()
    }


def save_bundle(path: Path, header: Header, parts: Mapping[str, PartTensors]) -> str:
    """Write a bundle atomically; return its SHA-256. Equal content gives equal bytes.

    Raises:
        StorageError: the file cannot be written.
    """
    sha256 = header_sha256(header)
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().contiguous()
        for part, of_part in parts.items()
        for name, tensor in of_part.items()
    }
    write_bytes(path, serialised(tensors, {"format": FORMAT, "header": header_text(header), "sha256": sha256}))
    return sha256


def unusable(path: Path, reason: str) -> StorageError:
    """Return, without raising it, the error for a bundle that cannot be used, with the advice."""
    return StorageError(f"{path}: {reason}; copy the bundle again, or make it again with `palimpsest bundle`")


def is_bundle(path: Path) -> bool:
    """Return True if the metadata of a safetensors file name the format of bundles, of any version.

    Raises:
        StorageError: the file is missing or no such file.
    """
    return read_metadata(path).get("format", "").startswith(f"{NAME} ")


def load_bundle(path: Path) -> BundleFile:
    """Load a bundle and verify its checksums.

    Raises:
        StorageError: the file is missing, truncated, altered, of a newer format, or no bundle.
    """
    metadata = read_metadata(path)
    check_format(path, metadata.get("format", ""))
    text = metadata.get("header", "")
    actual, expected = hashlib.sha256(text.encode()).hexdigest(), metadata.get("sha256")
    if actual != expected:
        raise unusable(path, f"the header was altered: expected SHA-256 {expected}, found {actual}")
    try:
        header = header_of(text)
    except (ValueError, RecursionError) as error:
        raise unusable(path, f"the header is damaged ({error})") from error
    parts = split_parts(path, header, read_tensors(path))
    check_tasks(path, header)
    return BundleFile(path, header, parts, actual)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
        StorageError: the file is missing or no such file, or its header has a key twice.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, os.fstat(file.fileno()).st_size - 8):
                raise unusable(path, f"no complete safetensors file (a header of {length} bytes)")
            content = json.loads(file.read(length), object_pairs_hook=unique_keys)
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise StorageError(f"{path}: {reason}; name a bundle, as `palimpsest bundle` writes it") from error
    except (ValueError, RecursionError) as error:
        raise unusable(path, f"no complete safetensors file ({error})") from error
    metadata = content.get("__metadata__") if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise unusable(path, "no bundle (it has no metadata)")
    return metadata


def check_format(path: Path, stored: str) -> None:
    """Check the name and version of the format.

    Raises:
        StorageError: the file is no bundle, or of a newer version.
    """
    name, _, version = stored.rpartition(" ")
    if name != NAME or not version.isdecimal():
        raise unusable(path, f"no bundle (expected the format {FORMAT!r}, found {shortened(stored)!r})")
    if len(version) > LONGEST_VERSION or int(version) > VERSION:
        raise StorageError(
            f"{path}: has the newer format {shortened(stored)!r}, expected {FORMAT!r}; update palimpsest"
        )
    if int(version) < OLDEST:
        raise unusable(path, f"has the format {stored!r}, expected {FORMAT!r}")


def shortened(text: str) -> str:
    """Return a text of a file for a message, without all that follows its first 60 characters."""
    return text if len(text) <= 60 else f"{text[:60]}…"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by key.

    Raises:
        StorageError: the file is truncated, or its header does not fit its size.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise unusable(path, f"no complete safetensors file ({error})") from error


def split_parts(path: Path, header: Header, tensors: Mapping[str, Tensor]) -> dict[str, PartTensors]:
    """Return the tensors by part, and verify the checksum of each part.

    Raises:
        StorageError: a tensor belongs to no part, has another type or a value that is not finite, or a checksum
            differs.
    """
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in header.parts}
    for key, tensor in tensors.items():
        part, name = part_of(key)
        if part not in parts:
            raise unusable(path, f"the tensor {key!r} belongs to no part of the header")
        if tensor.dtype not in DATA_TYPES:
            raise unusable(path, f"the tensor {key!r} has the type {tensor.dtype}, which no part contains")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise unusable(path, f"the tensor {key!r} has a value that is not finite")
        parts[part][name] = tensor
    for name, entry in header.parts.items():
        actual = part_sha256(parts[name])
        if actual != entry.sha256:
            raise unusable(
                path, f"the part {name!r} was altered: expected SHA-256 {entry.sha256[:12]}…, found {actual[:12]}…"
            )
    return dict(parts)


def part_of(key: str) -> tuple[str, str]:
    """Return the part of a tensor and its name in the network from its key in the file."""
    prefix = key.split("/", 2 if key.startswith(TASKS) else 1)
    return "/".join(prefix[:-1]), prefix[-1]


def check_tasks(path: Path, header: Header) -> None:
    """Check that all names of tasks differ, and that the file contains the parts and the base that they use.

    Raises:
        StorageError: a name occurs twice, a part is missing, or a task belongs to another base network.
    """
    names: set[str] = set()
    for task in header.tasks:
        if task.name in names:
            raise unusable(path, f"two tasks have the name {task.name!r}")
        names.add(task.name)
        for part in [*task.parts, *([BASE] if task.base_sha256 else [])]:
            if part not in header.parts:
                raise unusable(path, f"the part {part!r} of the task {task.name!r} is missing")
        if task.base_sha256 and task.base_sha256 != header.parts[BASE].sha256:
            raise unusable(
                path,
                f"the task {task.name!r} belongs to another base network: expected {task.base_sha256[:12]}…, found "
                f"{header.parts[BASE].sha256[:12]}…",
            )
