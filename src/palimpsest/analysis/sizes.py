"""Bytes of the stored tasks: rows of `sizes.csv` and `growth.csv`, without the columns seed and method."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import torch

from palimpsest.methods.base import Component
from palimpsest.networks import build_network, network_settings
from palimpsest.networks.outline import outline
from palimpsest.networks.settings import NetworkSettings
from palimpsest.networks.trunk import trunk_layers
from palimpsest.storage.stored_task import StoredTask, open_task
from palimpsest.storage.stored_tasks import StoredTasks

ENTROPY = "/entropy_per_weight"
"""End of the name of a diagnostic: bits per weight of a component, which its name begins with, at its entropy."""


def size_rows(stored: StoredTasks, *, with_entropy: bool = True) -> list[dict[str, object]]:
    """Return one row per component of the file of each stored task, with the columns of `sizes.csv`.

    ``bits_per_weight`` and ``entropy`` are bits per weight of the network's trunk: those that the component takes,
    and for bits and codes those at the entropy of their values in each layer. ``needed_to`` is ``run`` (needed for
    inference) or ``learn`` (only for further training). A component that all tasks share counts once, for the last
    task. The bytes of a file beyond its tensors count as ``metadata``. A base network that no task of the method
    owns counts under the name of its training, such as `autoencoder`. Without ``with_entropy``, entropies are NaN.
    """
    rows: list[dict[str, object]] = []
    for path in stored.task_files.files():
        if path not in map(stored.path, stored.sequence):
            file = open_task(path)
            rows += file_rows(file.provenance.method, file, set(), with_entropy)
    last_task = stored.sequence[-1]
    shared = {component.name for component in stored.open(last_task).components if component.shared}
    for task in stored.sequence:
        rows += file_rows(task, stored.open(task), shared if task != last_task else set(), with_entropy)
    return rows


def growth_rows(stored: StoredTasks) -> list[dict[str, object]]:
    """Return the bytes needed for each task together with all earlier tasks: task, needed_to, bytes.

    A task adds the difference to the bytes of the previous task, also if all tasks share a network.
    """
    rows: list[dict[str, object]] = []
    for number, task in enumerate(stored.sequence, 1):
        sizes = pd.DataFrame(size_rows(replace(stored, sequence=stored.sequence[:number]), with_entropy=False))
        for needed_to in ("run", "learn"):
            needed = int(sizes.loc[sizes["needed_to"] == needed_to, "bytes"].sum())
            rows.append({"task": task, "needed_to": needed_to, "bytes": needed})
    return rows


def file_rows(name: str, file: StoredTask, superseded: set[str], with_entropy: bool) -> list[dict[str, object]]:
    """Return the rows of a file under the name of a task, without the components that `superseded` names.

    For ``with_entropy`` see `size_rows`.
    """
    weights = weights_of_layers(file.network.for_inference().model_dump_json())
    total = sum(weights.values())
    sizes = dict(file.sizes)
    sizes["metadata"] = file.path.stat().st_size - sum(sizes.values())
    needed_to = {c.name: c.needed_to for c in file.components}
    entropies: dict[str, float] = {}
    if with_entropy:
        entropies = {c.name: entropy_of(c, weights) for c in file.components} | {
            key.removesuffix(ENTROPY): value * total
            for key, value in file.provenance.diagnostics.items()
            if key.endswith(ENTROPY)
        }
    return [
        {
            "task": name,
            "component": component,
            "bytes": size,
            "needed_to": needed_to.get(component, "run"),
            "bits_per_weight": 8 * size / total,
            "entropy": entropies.get(component, math.nan) / total,
        }
        for component, size in sizes.items()
        if component not in superseded
    ]


@lru_cache
def weights_of_layers(network: str) -> Mapping[str, int]:
    """Return the number of weights of each layer of the trunk; ``network`` has the settings as JSON."""
    settings: NetworkSettings = network_settings(json.loads(network))
    built = outline(settings, 1)
    if built is None:
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay
            built = build_network(settings, 1)
    return {name: layer.weight.numel() for name, layer in trunk_layers(built)}


def entropy_of(component: Component, weights: Mapping[str, int]) -> float:
    """Return the bits of a component of packed bits at their entropy; NaN for a component with other tensors.

    ``weights`` is the number of weights of each layer. Several bits of a weight are one value. Each layer has
    frequencies of its own.
    """
    layers = dict.fromkeys(name.rpartition(".")[0] for name in component.tensors)  # in an order, as are sums
    bits = 0.0 if layers else math.nan
    for layer in layers:
        packed = [tensor for name, tensor in component.tensors.items() if name.rpartition(".")[0] == layer]
        number = weights.get(layer, -1)
        if any(t.dtype != torch.uint8 or t.numel() != -(-number // 8) for t in packed):
            return math.nan
        values = sum(
            np.unpackbits(tensor.numpy(), count=number).astype(np.int64) << digit
            for digit, tensor in enumerate(packed)
        )
        counts = np.unique(values, return_counts=True)[1]
        bits -= float((counts * np.log2(counts / number)).sum())
    return bits
