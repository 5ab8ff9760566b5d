"""Experiments on the masks of a small study, whose stored tasks were not trained."""

import math
from collections.abc import Callable
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palimpsest.explaining import EXPERIMENTS, MASKED, bits, experiments_of, kinds, masks, names
from palimpsest.explaining.workbench import Row, Workbench, masked
from palimpsest.methods import BASE
from palimpsest.methods.masks import Mask
from palimpsest.networks.trunk import normalisation_layers, normalisation_state, trunk_layers
from palimpsest.settings import REFERENCE
from tests.conftest import Study
from tests.pipeline.conftest import write_arrays

pytestmark = pytest.mark.slow


def random_masks(network: nn.Module) -> None:
    """Give every score a random value, so that about a third of the mask is zero, and BatchNorm some statistics."""
    for module in network.modules():
        if isinstance(module, Mask):
            threshold = module.settings.threshold
            nn.init.uniform_(module.score.data, threshold - 0.01, threshold + 0.02)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


@pytest.fixture
def bench(new_study: Callable[..., Study]) -> Workbench:
    """Return a workbench for the task `halves` of a study with masks and separate networks."""
    study = new_study(methods=[REFERENCE, MASKED])
    study.store_untrained(BASE, "shapes", random_masks)
    for task in ("halves", "colour"):
        study.store_untrained(MASKED, task, random_masks)
        study.store_untrained(REFERENCE, task, random_masks)
        write_arrays(study.layout.prepared(task), study.prepared[task])
    return Workbench(study.settings, 0, "halves")


def rows_of(bench: Workbench, name: str) -> dict[tuple[str, float | str], dict[str, Tensor]]:
    """Return the states of an experiment by condition and x."""
    rows: dict[tuple[str, float | str], dict[str, Tensor]] = {}
    for row in resolve_name(EXPERIMENTS[name].path)(bench):
        assert isinstance(row, Row)
        rows[row.condition, row.x] = {**row.state}
    return rows


def weights_equal(bench: Workbench, state: Any, other: Any) -> bool:
    """Return whether two states have the same weights in all layers of the trunk."""
    return all(torch.equal(state[f"{name}.weight"], other[f"{name}.weight"]) for name in bench.filter_dimensions)


def test_every_experiment_has_a_function_and_runs_on_the_added_tasks() -> None:
    for name, experiment in EXPERIMENTS.items():
        function = resolve_name(experiment.path)
        assert function.__name__ == name and function.__doc__
        for module in experiment.modules:
            assert import_module(module)
    pairs = [*experiments_of(["first", "second", "third"])]
    assert ("flipped", "second") in pairs and ("flipped", "first") not in pairs and ("bases", "first") in pairs


def test_the_stored_task_is_measured_as_after_its_training(new_study: Callable[..., Study]) -> None:
    study = new_study(methods=[REFERENCE, MASKED], sequence=["shapes", "halves"])
    study.learn_all(MASKED)
    write_arrays(study.layout.prepared("halves"), study.prepared["halves"])
    bench = Workbench(study.settings, 0, "halves")
    recorded = study.stored(MASKED).prediction_record("halves").metrics
    assert bench.measure(bench.stored(MASKED, "halves")) == pytest.approx(recorded, rel=0.01)
    learned = bench.learn(MASKED, bench.base)  # the same training once more
    assert weights_equal(bench, learned, bench.stored(MASKED, "halves"))
    assert bench.measure(learned) == pytest.approx(recorded, rel=0.01)


def test_flipped_bits_are_so_many_and_stay_flipped_at_larger_shares(bench: Workbench) -> None:
    rows, mask, base = rows_of(bench, "flipped"), bench.bits("halves"), bench.base
    assert weights_equal(bench, rows[names.STORED, 0.0], bench.stored(MASKED, "halves"))
    before = {name: torch.zeros_like(kept) for name, kept in mask.items()}
    for share in names.FLIPPED:
        state = rows[names.STORED, share]
        flipped = {
            name: (state[f"{name}.weight"] != 0) != kept & (base[f"{name}.weight"] != 0)
            for name, kept in mask.items()
        }
        total = torch.cat([of_layer.flatten() for of_layer in flipped.values()])
        assert float(total.float().mean()) == pytest.approx(share, abs=0.02)
        assert all(bool((flipped[name] >= before[name]).all()) for name in mask)
        before = flipped
        assert weights_equal(bench, state, rows[names.RECOMPUTED, share])


def test_statistics_are_the_means_over_training_batches(bench: Workbench) -> None:
    state = bench.with_statistics(bench.stored(MASKED, "halves"))
    network = bench.network(bench.stored(MASKED, "halves"))
    (name, _), *_ = normalisation_layers(network)
    seen: list[Tensor] = []
    dict(network.named_modules())[name].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        for batch in bench.batches():
            network(bench.task.inputs(batch))
    expected = torch.stack([features.mean((0, 2, 3)) for features in seen]).mean(0)
    assert torch.allclose(state[f"{name}.running_mean"], expected, atol=1e-5)
    assert torch.equal(state[f"{name}.weight"], bench.stored(MASKED, "halves")[f"{name}.weight"])


def test_kept_zeros_are_the_largest_by_each_order(bench: Workbench) -> None:
    rows, mask, base = rows_of(bench, "important"), bench.bits("halves"), bench.base
    for order in (names.BY_RETURN, names.BY_REMOVAL, names.LARGEST, names.AT_RANDOM):
        assert weights_equal(bench, rows[order, 0.0], base)
        assert weights_equal(bench, rows[order, 1.0], masked(base, mask))
    zeros = torch.cat([base[f"{name}.weight"][~kept].abs() for name, kept in mask.items()])
    threshold = zeros.topk(round(0.1 * len(zeros))).values[-1]
    expected = {name: kept | (base[f"{name}.weight"].abs() < threshold) for name, kept in mask.items()}
    assert weights_equal(bench, rows[names.LARGEST, 0.1], masked(base, expected))


def test_equal_values_do_not_keep_more_zeros() -> None:
    mask = {"a": torch.zeros(10, 10, dtype=torch.bool), "b": torch.tensor([True, False])}
    values = {"a": torch.zeros(10, 10), "b": torch.tensor([9.0, 1.0])}
    kept = bits.keep_zeros(mask, values, 0.1)
    assert sum(int((~of_layer).sum()) for of_layer in kept.values()) == 10
    assert kept["b"].tolist() == [True, False]


def test_the_estimate_of_a_return_is_the_change_of_the_loss(bench: Workbench) -> None:
    state = bench.stored(MASKED, "halves")
    name, kept = next(iter(bench.bits("halves").items()))
    index = tuple(int(axis) for axis in (~kept).nonzero()[0])
    small = 1e-3 * float(bench.base[f"{name}.weight"][index])

    @torch.no_grad()
    def loss(change: float) -> float:
        weight = state[f"{name}.weight"].clone()
        weight[index] += change
        network = bench.network({**state, f"{name}.weight": weight}).double()
        total = 0.0
        for batch in bench.batches():
            prediction = network(bench.task.inputs(batch).double())
            total += float(bench.task.losses(bench.task.prediction(prediction, batch), batch)["loss"])
        return total

    gradient = float(bench.gradients(state)[name][index])
    assert gradient * 2 * small == pytest.approx(loss(small) - loss(-small), rel=0.05, abs=1e-6)


def test_shuffled_masks_keep_their_zeros_and_train_batchnorm_and_head(bench: Workbench) -> None:
    rows, mask = rows_of(bench, "shuffled"), bench.bits("halves")
    assert weights_equal(bench, rows[names.AS_LEARNED, "halves"], masked(bench.base, mask))
    assert weights_equal(bench, rows[names.ONES, "halves"], bench.base)
    for name, kept in mask.items():
        zeros = {
            condition: (rows[condition, "halves"][f"{name}.weight"] == 0)
            for condition in (names.IN_FILTERS, names.IN_LAYERS, names.IN_CLASSES)
        }
        classes = masks.magnitude_classes(bench.base[f"{name}.weight"])
        for number in range(names.CLASSES):
            assert int(zeros[names.IN_CLASSES][classes == number].sum()) == int((~kept)[classes == number].sum())
        assert kept.numel() < 100 or not torch.equal(zeros[names.IN_CLASSES], ~kept)
        others = [side for side in range(kept.ndim) if side != bench.filter_dimensions[name]]
        assert torch.equal(zeros[names.IN_FILTERS].sum(others), (~kept).sum(others))
        assert int(zeros[names.IN_LAYERS].sum()) == int((~kept).sum())
    heads = [state["head.weight"] for state in rows.values()]
    assert not torch.equal(heads[0], heads[1])


def test_signs_have_the_mean_magnitude_of_their_filter(bench: Workbench) -> None:
    rows = rows_of(bench, "signs")
    reduced = rows[names.NO_MASK, names.SIGNS]
    for name, dimension in bench.filter_dimensions.items():
        weight, signs = bench.base[f"{name}.weight"], reduced[f"{name}.weight"]
        others = [side for side in range(weight.ndim) if side != dimension]
        assert torch.equal(signs.sign(), weight.sign())
        assert torch.allclose(signs.abs().amax(others), weight.abs().mean(others))
    assert weights_equal(bench, rows[names.NO_MASK, names.WEIGHTS], bench.base)
    assert weights_equal(bench, rows[names.OLD_MASK, names.SIGNS], masked(reduced, bench.bits("halves")))


def test_rescaled_filters_have_one_factor_each_and_fixed_batchnorm_that_of_the_base(bench: Workbench) -> None:
    rows = rows_of(bench, "rescaled")
    state = rows[names.FIXED_BATCHNORM, names.RESCALED]
    for name, dimension in bench.filter_dimensions.items():
        weight, scaled = bench.base[f"{name}.weight"], state[f"{name}.weight"]
        kept = (scaled != 0).movedim(dimension, 0).flatten(1)
        factors = (scaled / weight).movedim(dimension, 0).flatten(1)
        for of_filter, chosen in zip(factors, kept, strict=True):
            assert torch.allclose(of_filter[chosen], of_filter[chosen][:1], rtol=1e-4)
            assert bool(((of_filter[chosen] >= 0.24) & (of_filter[chosen] <= 4.1)).all())
    network = bench.network(bench.base)
    for name, tensor in normalisation_state(network).items():
        assert torch.equal(state[name], tensor)
    learned = rows[names.LEARNED_BATCHNORM, names.RESCALED]
    assert any(not torch.equal(learned[name], tensor) for name, tensor in normalisation_state(network).items())


def test_bases_are_the_networks_of_the_tasks_and_one_before_any_training(bench: Workbench) -> None:
    rows = rows_of(bench, "bases")
    assert [condition for condition, _ in rows] == ["shapes", "halves", "colour", names.UNTRAINED]
    assert weights_equal(bench, rows["shapes", "halves"], bench.stored(MASKED, "halves"))
    assert weights_equal(bench, rows["halves", "halves"], bench.stored(REFERENCE, "halves"))
    for name, base in (("colour", bench.trained_on("colour")), (names.UNTRAINED, bench.untrained)):
        for layer, _ in trunk_layers(bench.network(bench.base)):
            weight, below = rows[name, "halves"][f"{layer}.weight"], base[f"{layer}.weight"]
            assert bool(((weight == 0) | (weight == below)).all())


def test_parts_change_only_what_they_name(bench: Workbench) -> None:
    rows = {condition: state for (condition, _), state in rows_of(bench, "parts").items()}
    head, batchnorm, mask, both = (rows[name] for name in names.PARTS)
    normalisation = normalisation_state(bench.network(bench.base))
    for state, has_mask, has_batchnorm in (
        (head, False, False),
        (batchnorm, False, True),
        (mask, True, False),
        (both, True, True),
    ):
        assert weights_equal(bench, state, bench.base) != has_mask
        for name, weight in bench.weights().items():
            changed = state[f"{name}.weight"]
            assert bool(((changed == weight) | (changed == 0)).all())
        assert all(torch.equal(state[name], tensor) for name, tensor in normalisation.items()) != has_batchnorm


def test_exchanged_masks_keep_batchnorm_and_head_of_the_task(bench: Workbench) -> None:
    rows = rows_of(bench, "exchanged")
    stored = bench.stored(MASKED, "halves")
    assert [condition for condition, _ in rows] == [names.NO_MASK, "halves", "colour"]
    for (condition, _), state in rows.items():
        task = "shapes" if condition == names.NO_MASK else condition
        assert weights_equal(bench, state, masked(bench.base, bench.bits(task)))
        scales = [name for name in stored if name.endswith((".weight", ".bias")) and stored[name].ndim == 1]
        assert all(torch.equal(state[name], stored[name]) for name in [*scales, "head.weight"])
    recomputed = bench.with_statistics(stored)
    assert all(torch.equal(rows["halves", "halves"][name], tensor) for name, tensor in recomputed.items())


def test_zeros_are_counted_by_magnitude_and_offset(bench: Workbench) -> None:
    mask, weights = bench.bits("halves"), bench.weights()
    counted = {(row.condition, row.x): row.metrics["zeros"] for row in masks.dropped(bench)}
    largest = [
        ~mask[name].flatten()[weight.abs().flatten() >= weight.abs().flatten().quantile(0.9)]
        for name, weight in weights.items()
    ]
    assert counted[names.BY_MAGNITUDE, names.CLASSES] == pytest.approx(
        float(torch.cat(largest).float().mean()), abs=0.03
    )
    centres = torch.cat([~kept[:, :, 1, 1].flatten() for kept in mask.values() if kept.shape[2:] == (3, 3)])
    assert counted[names.BY_OFFSET, "centre"] == pytest.approx(float(centres.float().mean()))
    assert {x for condition, x in counted if condition == names.BY_OFFSET} == {"centre", "edge", "corner"}


def test_masks_are_compared_with_earlier_tasks_and_another_seed(bench: Workbench) -> None:
    assert [row.condition for row in masks.alike(bench)] == [names.SAME_TASK]
    rows = {row.condition: row.metrics for row in masks.alike(Workbench(bench.settings, 0, "colour"))}
    assert [*rows] == ["halves", names.SAME_TASK]
    assert rows["halves"]["similarity"] == pytest.approx(rows["halves"]["independent"], abs=0.03)  # both are random
    mask, weights = bench.bits("halves"), bench.weights()
    assert masks.similarity(mask, mask, weights)["similarity"] == 1
    assert masks.similarity(mask, {name: ~kept for name, kept in mask.items()}, weights)["similarity"] == 0


def test_another_seed_gives_other_batches_and_another_head(bench: Workbench) -> None:
    states = [bench.learn(MASKED, bench.base, seed=seed) for seed in (None, 0, 1000)]
    heads = [state["head.weight"] for state in states]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_masks_that_agree_in_layers_and_magnitudes_alone_are_independent() -> None:
    random = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(100, 100, generator=random) for name in ("few", "many")}
    shares = {
        name: 0.1 * (name == "many") + 0.08 * masks.magnitude_classes(weight) for name, weight in weights.items()
    }
    first, second = (
        {name: torch.rand(100, 100, generator=random) > shares[name] for name in weights} for _ in range(2)
    )
    figures = masks.similarity(first, second, weights)
    assert figures["similarity"] == pytest.approx(figures["independent"], abs=0.01)
    zeros = [1 - float(torch.cat([*mask.values()]).float().mean()) for mask in (first, second)]
    with_as_many_zeros = zeros[0] * zeros[1] + (1 - zeros[0]) * (1 - zeros[1])
    assert figures["similarity"] > with_as_many_zeros + 0.05


def test_bits_of_a_mask_are_counted_in_contexts(bench: Workbench) -> None:
    sizes = {row.condition: row.metrics["bits"] for row in masks.shorter(bench)}
    assert [*sizes] == [names.LAYERS, names.BY_MAGNITUDE, names.BY_SIGN, names.BY_OFFSET]
    later = [row.condition for row in masks.shorter(Workbench(bench.settings, 0, "colour"))]
    assert later == [*sizes, "mask of halves"]
    bits, weights = bench.bits("halves"), bench.weights()
    number = sum(kept.numel() for kept in bits.values())
    counts = sum(math.log2(kept.numel() + 1) for kept in bits.values())
    entropy = sum(
        kept.numel() * float(torch.distributions.Bernoulli(kept.float().mean()).entropy()) / math.log(2)
        for kept in bits.values()
    )
    assert sizes[names.LAYERS] == pytest.approx((entropy + counts) / number, rel=1e-4)
    known = {name: kept.long() for name, kept in bits.items()}  # a context that decides each bit
    assert masks.bits_per_weight(bits, known) < 0.1 and all(size > 0.9 for size in sizes.values())
    middle = [offset[:, :, 1, 1] for name, w in weights.items() if (offset := masks.offsets(w)).shape[2:] == (3, 3)]
    assert all((of_layer == 4).all() for of_layer in middle)


def test_zeros_of_classification_and_translation_are_counted_over_networks_of_several_sizes(
    bench: Workbench,
) -> None:
    write_arrays(bench.settings.layout.prepared("shapes"), bench.prepared)
    rows = [*kinds.kinds(bench)]
    assert [row.condition for row in rows] == [case.condition for case in kinds.CASES]
    weights = [int(row.x) for row in rows]
    assert weights[0] < weights[1] == weights[5] and weights[2] < weights[3] <= weights[4] < weights[1]
    assert weights[1] == sum(weight.numel() for weight in bench.weights().values())
    for row in rows:
        assert 0 <= row.metrics["zeros"] < 1 and 0 <= row.metrics["score"] <= 1 and 0 < row.metrics["floor"] <= 1
    assert {row.metrics["floor"] for row in rows if row.condition != names.TRANSLATION} != {
        row.metrics["floor"] for row in rows if row.condition == names.TRANSLATION
    }
    assert [*kinds.kinds(Workbench(bench.settings, 0, "colour"))] == []  # a colorization has no classes
