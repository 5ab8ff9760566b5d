"""One stored task: a `.safetensors` file that names the network it belongs to and proves that it is whole.

Tensors stand under the names of the network's layers: a packed mask under its layer's name, weights and
BatchNorm under their own. The header's metadata says which component each belongs to, with which settings the
task was learned, on which commit and data, the SHA-256 of all tensors and of the header itself, and that of the
base network it needs.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from palimpsest.errors import StorageError
from palimpsest.methods.base import Component
from palimpsest.storage.atomic import write_bytes

FORMAT = "palimpsest task 3"


@dataclass(frozen=True)
class Provenance:
    """Where a stored task comes from."""

    preset: str
    seed: int
    method: str
    task: str
    settings: Mapping[str, Any]
    """The cut of the settings that decided the training."""
    network_sha256: str | None
    """SHA-256 of the tensors of the base network that the task needs to run; None where it brings its own."""
    base_file: str = ""
    """File of that network, relative to the folder of this one."""
    commit: str = ""
    """Of the code, as `provenance.code_version` says it."""
    data_sha256: str = ""
    """Of the prepared arrays."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """What the method had to tell of the training."""


@dataclass(frozen=True)
class TaskFile:
    """What is in a file."""

    path: Path
    provenance: Provenance
    components: tuple[Component, ...]
    sha256: str
    """Of the tensors: the same for the same content, whatever the metadata."""

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that inference needs."""
        return {
            name: tensor
            for component in self.components
            if component.needed_to == "run"
            for name, tensor in component.tensors.items()
        }


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def metadata_sha256(metadata: Mapping[str, str]) -> str:
    """SHA-256 of everything the header says but itself; the tensors' own digest is part of it."""
    said = {key: value for key, value in metadata.items() if key != "metadata_sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def save_task(path: Path, components: Iterable[Component], provenance: Provenance) -> str:
    """Write a stored task, whole or not at all; returns the SHA-256 of its tensors."""
    components = tuple(components)
    tensors = {name: tensor.detach().cpu().contiguous() for c in components for name, tensor in c.tensors.items()}
    if len(tensors) < sum(len(c.tensors) for c in components):
        raise ValueError("two components store a tensor of the same name")
    sha256 = content_sha256(tensors)
    metadata = {
        "format": FORMAT,
        "preset": provenance.preset,
        "seed": str(provenance.seed),
        "method": provenance.method,
        "task": provenance.task,
        "settings": json.dumps(provenance.settings, sort_keys=True),
        "network_sha256": provenance.network_sha256 or "",
        "base_file": provenance.base_file,
        "commit": provenance.commit,
        "data_sha256": provenance.data_sha256,
        "diagnostics": json.dumps(provenance.diagnostics, sort_keys=True),
        "sha256": sha256,
        "components": json.dumps(
            [
                {"name": c.name, "shared": c.shared, "needed_to": c.needed_to, "tensors": sorted(c.tensors)}
                for c in components
            ]
        ),
    }
    metadata["metadata_sha256"] = metadata_sha256(metadata)
    write_bytes(path, serialised(tensors, metadata))
    return sha256


def serialised(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file whose bytes follow from its content alone.

    The library writes metadata in the random order of its hash map, so that equal trainings would leave unequal
    files. Its header, a length and JSON, is therefore written anew in the order of the names.
    """
    plain = save(dict(tensors))
    length = int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(metadata), **json.loads(plain[8 : 8 + length])}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at multiples of eight bytes
    return len(text).to_bytes(8, "little") + text + plain[8 + length :]


def unusable(path: Path, reason: str) -> StorageError:
    """The error of a stored task that is damaged or belongs elsewhere."""
    return StorageError(
        f"{path}: {reason}; restore it with `dvc pull`, or delete it: the next `snakemake all` trains it anew"
    )


def load_task(path: Path) -> TaskFile:
    """Read a stored task and check that it is whole.

    Raises:
        StorageError: the file is missing, truncated, altered, or no stored task; says what was expected and found.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing") from None
    except (OSError, SafetensorError) as error:
        raise unusable(path, f"is not a whole safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise unusable(path, f"expected format {FORMAT!r}, found {metadata.get('format')!r}")
    found, expected = metadata_sha256(metadata), metadata.get("metadata_sha256")
    if found != expected:
        raise unusable(path, f"its header was altered: expected SHA-256 {expected}, found {found}")
    try:
        listed = json.loads(metadata["components"])
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
            diagnostics=json.loads(metadata["diagnostics"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise unusable(path, f"its metadata is damaged ({error!r})") from error
    found, expected = content_sha256(tensors), metadata.get("sha256")
    if found != expected:
        raise unusable(path, f"was altered: expected SHA-256 {expected}, found {found}")
    return TaskFile(path, provenance, components, found)
