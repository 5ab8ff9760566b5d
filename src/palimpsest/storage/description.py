"""Content of bundles and masks, for `palimpsest inspect`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palimpsest.methods.base import MASK, Component
from palimpsest.storage.bundle_file import FORMAT, TASKS, BundleFile


def describe_bundle(bundle: BundleFile, size: int) -> dict[str, Any]:
    """Return content, network, parts and tasks of a bundle by property, as `palimpsest inspect` prints them.

    ``size`` is the number of its bytes.
    """
    header = bundle.header.model_dump(mode="json")
    tasks = header.pop("tasks")
    masks = {}
    for entry in bundle.header.tasks:
        tensors = bundle.decoded(entry, bundle.parts.get(f"{TASKS}{entry.name}", {}))
        masks[entry.name] = describe_masks(Component(MASK, tensors).mask_bits)
    return {
        "format": FORMAT,
        "sha256": bundle.sha256,
        "bytes": size,
        **header,
        "tasks": {task.pop("name"): task for task in tasks},
        "ones": {name: ones for name, ones in masks.items() if ones},
    }


def describe_masks(masks: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the number of ones in each packed mask, by layer; without tensors of a damaged file that are none."""
    return {
        layer: f"{int(np.bitwise_count(bits.numpy()).sum())} in {8 * bits.numel()} bits"
        for layer, bits in masks.items()
        if bits.dtype == torch.uint8
    }
