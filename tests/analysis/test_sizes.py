import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from palimpsest.analysis.accounting import MIB, UNCOUNTED, bytes_needed
from palimpsest.analysis.sizes import entropy_of, growth_rows, size_rows
from palimpsest.methods import BASE
from palimpsest.methods.base import Component
from palimpsest.methods.masks import Mask
from palimpsest.networks.trunk import trunk_layers
from palimpsest.storage.task_file import save_task

Study = Any

TRUNK = 14_777_344 - 64 * 21
"""Weights of the study's convolutions without the head."""
DECODER = 5_373_952
"""Weights of its decoder."""
BATCHNORM = 2 * (14_785_301 - 14_777_344 - 21)
"""Weights, biases, means and variances of all its BatchNorm layers."""

CLASSES = {str(number): ["red"] for number in range(20)}
FULL_SIZE = {
    "network": {"width": 64},
    "sequence": ["coco-seg", "voc-seg", "colorize", "style-gogh", "style-munch"],
    "tasks": {
        **{name: {"kind": "segmentation", "data": "drawn", "classes": CLASSES} for name in ("coco-seg", "voc-seg")},
        **{name: {"kind": "colorization", "data": "drawn"} for name in ("colorize", "style-gogh", "style-munch")},
    },
}


@torch.no_grad()
def even_masks(network: nn.Module) -> None:
    """Give the masks of a network as many zeros as ones, so that they take a bit per weight."""
    for mask in (module for module in network.modules() if isinstance(module, Mask)):
        mask.score.flatten()[::2] = 0


def table(study: Study, method: str) -> pd.DataFrame:
    first, *later = study.settings.sequence
    study.store_untrained(BASE, first)
    for task in later:
        study.store_untrained(method, task, even_masks)
        study.networks.clear()
    return pd.DataFrame(size_rows(study.stored(method))).assign(seed=0, method=method)


def printed_mib(sizes: pd.DataFrame) -> float:
    """Return MiB as the study prints them: the sum of rounded sizes (56.4 + 4 × 1.8 = 63.6)."""
    counted = sizes[(sizes["needed_to"] == "run") & ~sizes["component"].isin(UNCOUNTED)]
    return round(float((counted.groupby("task")["bytes"].sum() / MIB).round(1).sum()), 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "printed", "weights"),
    [
        ("scratch", 282.0, 5 * TRUNK * 4),
        ("fine-tune", 56.4, TRUNK * 4),
        ("decoder", 138.4, (TRUNK + 4 * DECODER) * 4),
        ("piggyback", 63.6, TRUNK * 4 + 4 * TRUNK // 8),
    ],
)
def test_sizes_of_the_study_are_those_of_files(
    new_study: Callable[..., Study], method: str, printed: float, weights: int
) -> None:
    study = new_study(**FULL_SIZE)
    sizes = table(study, method)
    assert printed_mib(sizes) == printed
    assert bytes_needed(sizes, "run", method, weights_only=True) == weights
    bytes_of = sizes.groupby("component")["bytes"].sum()
    assert bytes_of["batchnorm"] == 5 * 4 * BATCHNORM
    assert bytes_of["head"] == 4 * (2 * (64 * 21 + 21) + 3 * (64 * 3 + 3))
    files = {study.stored(method).path(task) for task in study.settings.sequence}
    on_disk = sum(path.stat().st_size for path in files)
    superseded = 4 * TRUNK * 4 if method == "fine-tune" else 0
    assert bytes_needed(sizes, "run", method) == on_disk - superseded


@pytest.mark.parametrize("method", ["scratch", "fine-tune", "decoder", "piggyback"])
def test_every_byte_of_a_file_is_counted_once(new_study: Callable[..., Study], method: str) -> None:
    study = new_study()
    sizes = table(study, method)
    assert not sizes.duplicated(["task", "component"]).any()
    assert set(sizes["needed_to"]) == {"run"} and (sizes["bytes"] > 0).all()
    for task, part in sizes.groupby("task"):
        missing = method == "fine-tune" and task != "colour"
        assert ("network" in set(part["component"])) == (
            {"scratch": True, "fine-tune": not missing}.get(method, task == "shapes")
        )
        if not missing:
            assert part["bytes"].sum() == study.stored(method).path(task).stat().st_size


def test_a_shared_network_counts_once_with_the_task_that_wrote_it_last(new_study: Callable[..., Study]) -> None:
    sizes = table(new_study(), "fine-tune")
    assert sizes.loc[sizes["component"] == "network", "task"].tolist() == ["colour"]
    assert sorted(sizes.loc[sizes["component"] == "batchnorm", "task"]) == ["colour", "halves", "shapes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "below"), [("resblock6", ["autoencoder"]), ("piggyback-resblock", ["autoencoder"])]
)
def test_a_base_network_that_is_no_task_of_the_method_counts_too(
    trained: Study, method: str, below: list[str]
) -> None:
    sizes = pd.DataFrame(size_rows(trained.stored(method)))
    assert sizes["task"].unique().tolist() == [*below, *trained.settings.sequence]
    assert sizes["bytes"].sum() == sum(path.stat().st_size for path in trained.stored(method).task_files.files())


@pytest.mark.slow
def test_components_for_training_alone_are_marked(trained: Study) -> None:
    sizes = pd.DataFrame(size_rows(trained.stored("ewc")))
    (fisher,) = sizes[sizes["component"] == "fisher"].itertuples()
    (network,) = sizes[sizes["component"] == "network"].itertuples()
    assert (fisher.task, fisher.needed_to, fisher.bytes) == ("colour", "learn", network.bytes)
    assert set(sizes[sizes["component"] != "fisher"]["needed_to"]) == {"run"}


@pytest.mark.parametrize("method", ["piggyback", "piggyback-ternary", "coded", "decoder"])
def test_bits_per_weight_and_entropy(trained: Study, method: str) -> None:
    stored = trained.stored(method)
    sizes = pd.DataFrame(size_rows(stored)).set_index(["task", "component"])
    weights = sum(layer.weight.numel() for _, layer in trunk_layers(stored.network("shapes")))
    assert (sizes["bits_per_weight"] * weights / 8).round().tolist() == sizes["bytes"].tolist()
    added = sizes.loc["halves"]
    entropy = added["entropy"].dropna().to_dict()
    if method == "decoder":
        assert entropy == {}
        return
    (component,) = entropy
    assert component == ("code" if method == "coded" else "mask")
    assert 0 < entropy[component] <= added.loc[component, "bits_per_weight"]


def test_the_entropy_is_that_of_the_values_of_each_layer() -> None:
    bits = [np.packbits([1, 1, 0, 0, 0, 0, 0, 0]), np.packbits([1, 0, 0, 0])]
    names = ("first.mask", "second.mask")
    component = Component("mask", dict(zip(names, map(torch.from_numpy, bits), strict=True)))
    h = lambda p: -p * math.log2(p) - (1 - p) * math.log2(1 - p)  # noqa: E731
    assert entropy_of(component, {"first": 8, "second": 4}) == pytest.approx(12 * h(0.25))
    both = Component("mask", {"first.mask": torch.from_numpy(bits[0]), "first.negated": torch.from_numpy(bits[0])})
    assert entropy_of(both, {"first": 8}) == pytest.approx(8 * h(0.25))  # two bits that are always equal
    assert math.isnan(entropy_of(Component("head", {"head.weight": torch.zeros(3)}), {"first": 8}))


def growth(study: Study, method: str) -> dict[str, list[int]]:
    """Return the bytes needed after each task, for inference and for training."""
    rows = growth_rows(study.stored(method))
    assert [row["task"] for row in rows[::2]] == study.settings.sequence
    return {to: [row["bytes"] for row in rows if row["needed_to"] == to] for to in ("run", "learn")}


@pytest.mark.parametrize("method", ["scratch", "piggyback"])
def test_size_grows_by_the_file_of_each_task(new_study: Callable[..., Study], method: str) -> None:
    study = new_study()
    sizes = table(study, method)
    base, *added = [study.stored(method).path(task).stat().st_size for task in study.settings.sequence]
    assert growth(study, method) == {"run": [base, base + added[0], base + sum(added)], "learn": [0, 0, 0]}
    assert growth(study, method)["run"][-1] == bytes_needed(sizes, "run", method)


def test_shared_components_are_added_once(new_study: Callable[..., Study]) -> None:
    study = new_study()
    table(study, "fine-tune")
    for task in study.settings.sequence[1:]:
        file = study.stored("fine-tune").open(task)
        fisher = Component("fisher", {"fisher": torch.zeros(100)}, shared=True, needed_to="learn")
        save_task(file.path, [*file.components, fisher], file.provenance)
    files = [study.stored("fine-tune").path(task).stat().st_size for task in study.settings.sequence]
    (network,) = (c for c in study.stored("fine-tune").open("shapes").components if c.name == "network")
    once = sum(tensor.nbytes for tensor in network.tensors.values())
    assert growth(study, "fine-tune") == {
        "run": [files[0], sum(files[:2]) - once - 400, sum(files) - 2 * once - 800],
        "learn": [0, 400, 400],
    }


def test_the_study_counts_inference_weights_and_rounds_each_task_first() -> None:
    mib = 2**20
    sizes = pd.DataFrame(
        [
            ("a", "network", 2.24 * mib, "run"),
            ("a", "batchnorm", 9 * mib, "run"),
            ("a", "metadata", 9 * mib, "run"),
            ("b", "mask", 1.24 * mib, "run"),
            ("b", "head", 9 * mib, "run"),
            ("b", "fisher", 9 * mib, "learn"),
        ],
        columns=["task", "component", "bytes", "needed_to"],
    ).assign(seed=0, method="m")
    assert bytes_needed(sizes, "run", "m", weights_only=True) == pytest.approx(3.48 * mib)
    assert printed_mib(sizes) == pytest.approx(3.4)
    assert bytes_needed(sizes, "run", "m") == pytest.approx(30.48 * mib)
    assert bytes_needed(sizes, "learn", "m") == pytest.approx(9 * mib)
    assert math.isnan(bytes_needed(sizes, "run", "another"))
