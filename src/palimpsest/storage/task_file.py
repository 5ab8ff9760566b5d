"""File of a stored task: a `.safetensors` file with its origin, its base network and checksums in the header.

Tensors have the names of the plain network; those of a reparametrised layer, as a packed mask, start with the
layer's name. The metadata in the header assigns each tensor to a component, and lists the tensors
of bits that are stored as codes (`bit_code`). It also contains the settings of the
training, the commit, and the SHA-256 of the prepared data, all tensors, the metadata and the base network.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from palimpsest.errors import CodeError, StorageError
from palimpsest.layout import making_command
from palimpsest.methods.base import Component
from palimpsest.storage.atomic import write_bytes
from palimpsest.storage.bit_code import decoded_bits, encoded_bits

FORMAT = "palimpsest task 5"
"""Name and version of the file's format."""
OLDER = ("palimpsest task 4", "palimpsest task 3")
"""Formats of older versions that are still read. Before format 5, bits are packed and never coded. In format 3,
every BatchNorm has its statistics."""
UNREADABLE = (("palimpsest task 3", "coded"),)
"""Formats and methods of tasks that are refused, because their tensors have another meaning."""


@dataclass(frozen=True)
class Provenance:
    """Origin of a stored task, as in the header of its file."""

    preset: str
    """`Layout.scope`: the preset, for a variant of a sweep with its name."""
    seed: int
    method: str
    task: str
    settings: Mapping[str, Any]
    """Settings of the training: a `jobs.TrainingJob` as JSON values."""
    network_sha256: str | None
    """SHA-256 of the base network's tensors; None for a task that needs no base network for inference."""
    base_file: str = ""
    """Path of the base network's file, relative to the folder of this file; empty if none is needed."""
    commit: str = ""
    """Commit of the code, see `provenance.code_version`; empty if it is not known."""
    data_sha256: str = ""
    """SHA-256 of the prepared arrays of the training."""
    encoder_sha256: str = ""
    """SHA-256 of the file of weights with which the encoder of the network, or of its base network, started; empty
    for random weights."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """Figures about the training by name; see `Method.diagnostics`."""


@dataclass(frozen=True)
class TaskFile:
    """Content of one stored task's file."""

    path: Path
    provenance: Provenance
    components: tuple[Component, ...]
    sha256: str
    """SHA-256 of the tensors, independent of the metadata and of `bit_code`."""
    sizes: Mapping[str, int]
    """Bytes of each component in the file."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of this file that inference needs, without those of the base network."""
        return {
            name: tensor
            for component in self.components
            if component.needed_to == "run"
            for name, tensor in component.tensors.items()
        }


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return one SHA-256 of the names, types, shapes and bytes of tensors; their order does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def metadata_sha256(metadata: Mapping[str, str]) -> str:
    """Return one SHA-256 of all entries of the metadata except `metadata_sha256`, which stores it."""
    content = {key: value for key, value in metadata.items() if key != "metadata_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_task(path: Path, components: Iterable[Component], provenance: Provenance) -> str:
    """Write the file of a stored task atomically; return the SHA-256 of its tensors.

    Raises:
        CodeError: two components have a tensor of the same name.
        StorageError: the file cannot be written.
    """
    components = tuple(components)
    tensors = {name: tensor.detach().cpu().contiguous() for c in components for name, tensor in c.tensors.items()}
    names = Counter(name for c in components for name in c.tensors)
    name, count = names.most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise CodeError(
            f"{name}: stored by {count} components of the method {provenance.method}; rename the tensor"
        )
    sha256 = content_sha256(tensors)
    stored, shapes = encoded_bits(tensors)
    metadata = {
        "format": FORMAT,
        "preset": provenance.preset,
        "seed": str(provenance.seed),
        "method": provenance.method,
        "task": provenance.task,
        "settings": json.dumps(provenance.settings),  # in their order: that of the classes decides their labels
        "network_sha256": provenance.network_sha256 or "",
        "base_file": provenance.base_file,
        "commit": provenance.commit,
        "data_sha256": provenance.data_sha256,
        "encoder_sha256": provenance.encoder_sha256,
        "diagnostics": json.dumps(provenance.diagnostics, sort_keys=True),
        "sha256": sha256,
        "coded": json.dumps(shapes, sort_keys=True),
        "components": json.dumps(
            [
                {"name": c.name, "shared": c.shared, "needed_to": c.needed_to, "tensors": sorted(c.tensors)}
                for c in components
            ]
        ),
    }
    metadata["metadata_sha256"] = metadata_sha256(metadata)
    write_bytes(path, serialised(stored, metadata))
    return sha256


def serialised(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file with these tensors and metadata; equal content gives equal bytes.

    The library writes metadata in the random order of its hash map, so that files of equal trainings would differ.
    This function therefore sorts the header (a length and JSON) by name.
    """
    plain = save(dict(tensors))
    length = int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(metadata), **json.loads(plain[8 : 8 + length])}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at multiples of eight bytes
    return len(text).to_bytes(8, "little") + text + plain[8 + length :]


def unusable(path: Path, reason: str) -> StorageError:
    """Return, without raising it, the error for a stored task that is damaged or does not fit, with the advice."""
    return StorageError(
        f"{path}: {reason}; restore it with `dvc pull`, or delete it: the next `snakemake all` trains it again"
    )


def load_task(path: Path) -> TaskFile:
    """Load the file of a stored task and verify its checksums; `open_task` can also build its network.

    Raises:
        StorageError: the file is missing, truncated, altered, or not a stored task.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing; `{making_command(path)}` makes it") from None
    except (OSError, SafetensorError) as error:
        raise unusable(path, f"not a complete safetensors file ({error})") from error
    if metadata.get("format") not in (FORMAT, *OLDER):
        raise unusable(path, f"expected format {FORMAT!r}, found {metadata.get('format')!r}")
    if (metadata["format"], metadata.get("method")) in UNREADABLE:
        raise unusable(path, f"a task of {metadata['method']} in the format {metadata['format']!r} cannot be read")
    actual, expected = metadata_sha256(metadata), metadata.get("metadata_sha256")
    if actual != expected:
        raise unusable(path, f"the header was altered: expected SHA-256 {expected}, found {actual}")
    try:
        tensors = decoded_bits(stored, json.loads(metadata.get("coded", "{}")))
        listed = json.loads(metadata["components"])
        sizes = {c["name"]: sum(stored[name].nbytes for name in c["tensors"]) for c in listed}
        components = tuple(
            Component(c["name"], {n: tensors[n] for n in c["tensors"]}, c["shared"], c["needed_to"]) for c in listed
        )
        provenance = Provenance(
            preset=metadata["preset"],
            seed=int(metadata["seed"]),
            method=metadata["method"],
            task=metadata["task"],
            settings=json.loads(metadata["settings"]),
            network_sha256=metadata["network_sha256"] or None,
            base_file=metadata["base_file"],
            commit=metadata["commit"],
            data_sha256=metadata["data_sha256"],
            encoder_sha256=metadata.get("encoder_sha256", ""),  # missing in files of older versions
            diagnostics=json.loads(metadata["diagnostics"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise unusable(path, f"the metadata is damaged ({error!r})") from error
    except StorageError as error:
        raise unusable(path, f"the tensors were altered: {error}") from error
    actual, expected = content_sha256(tensors), metadata.get("sha256")
    if actual != expected:
        raise unusable(path, f"the tensors were altered: expected SHA-256 {expected}, found {actual}")
    return TaskFile(path, provenance, components, actual, sizes)
