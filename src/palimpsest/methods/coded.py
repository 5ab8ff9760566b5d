"""`coded`: changes of the base's weights in integers, whose code has a size that the user sets.

Idea: most weights serve every task as they are; each change is penalised by its bits, so that few remain.
Formula, for the weight w of a kernel k in a filter with root mean square σ, and the kernel's weight ŵ at mean 0 and
standard deviation 1: w + σ · (Δ_M · m + Δ_S · s · ŵ) + Δ_E · w · e, with integers m and s per kernel, and e for
each of the largest weights of the network, whose changes matter most per bit.
Trained: real numbers that are rounded to the integers (straight-through), the step sizes Δ of each layer,
BatchNorm, head. Stored: the integers, entropy-coded (`palimpsest.coding`), the step sizes, and the smallest
magnitude of a weight with an integer. Forgets: nothing, because no weight of the base changes.

The size is a part of the training. Each change costs the bits by which it makes the code longer
(`palimpsest.methods.rate`). After each step of Adam every real number moves towards 0 by learning rate · λ · cost,
as weights do by the decoupled weight decay of AdamW; λ is steered so that the code reaches its size. Rounding
begins gradually; at last the integers are frozen, and BatchNorm and head train with them.
Sources: Oktay et al., Scalable Model Compression by Entropy Penalized Reparameterization, ICLR 2020 (the rate as a
part of the training). The formula contains the changes of `modulation` (m, s) and, if all weights have an integer,
ternary masks (e).
Deliberately different: costs come from counts instead of a trained density; rounding is gradual; the size is set,
and λ follows.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from palimpsest.coding import sparse
from palimpsest.errors import SettingsError, StorageError
from palimpsest.methods.base import ParameterGroup, Start, backbone_parameters
from palimpsest.methods.coded_changes import (
    covered,
    deviations,
    kernel_change,
    smallest_covered,
    standardised,
    weight_change,
)
from palimpsest.methods.coded_settings import CodedSettings
from palimpsest.methods.rate import Costs, Pressure, costs_of, ramp, smallest_threshold
from palimpsest.methods.reparametrised import (
    LayerTensors,
    LayerWeight,
    Reparametrised,
    StoredLayer,
    layer_in_errors,
    parametrization_of,
)
from palimpsest.networks.trunk import Layer, output_channels
from palimpsest.training.schedule import schedule

STREAMS = ("mean", "scale", "weight")
"""Integers of a layer: per kernel those of mean and scale, and one per covered weight."""
STEP_BITS = 32
"""Bits of a stored step size, and of the smallest magnitude of a covered weight, which is stored behind them."""

log = logging.getLogger(__name__)


class CodedWeight(LayerWeight):
    """Parametrization of one layer: the base's weight plus steps of learned integers."""

    frozen: Tensor
    """Scalar bool: True when the integers stay. A buffer, as the following ones, so that checkpoints contain it."""
    hardness: Tensor
    """Scalar from 0 to 1: share of the way from the real numbers to the integers."""
    pressure: Tensor
    """State of `Pressure`, (2,); the same in all layers."""
    deviation: Tensor
    """Root mean square σ of each filter, with a side of 1 but for output channels."""
    shapes: Tensor
    """Kernels at mean 0 and standard deviation 1, in the shape of the weight; missing without their integers."""
    covered: Tensor
    """Positions of the weights with integers, the largest of the network, int64 (n,)."""

    def __init__(self, weight: Tensor, channel_dim: int, smallest: float, settings: CodedSettings) -> None:
        super().__init__()
        self.settings = settings
        self.smallest, self.number = smallest, weight.numel()
        self.register_buffer("covered", covered(weight, smallest), persistent=False)
        shapes = shapes_of(weight, len(self.covered), settings)
        self.latents = nn.ParameterDict(
            {name: nn.Parameter(weight.new_zeros(shape)) for name, shape in shapes.items()}
        )
        self.steps = nn.Parameter(weight.new_tensor([settings.first_step(name) for name in self.latents]))
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool, device=weight.device))
        self.register_buffer("hardness", weight.new_zeros(()))
        self.register_buffer("pressure", weight.new_zeros(2))
        self.register_buffer("deviation", deviations(weight, channel_dim), persistent=False)
        if "mean" in self.latents:
            self.register_buffer("shapes", standardised(weight), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the task's weight, in the shape of the base's."""
        numbers = [latent + self.hardness * (latent.round() - latent).detach() for latent in self.latents.values()]
        changes = dict(zip(self.latents, zip(self.steps, numbers, strict=True), strict=True))
        change = weight_change(changes["weight"], weight.flatten()[self.covered])
        if "mean" in changes:
            weight = weight + kernel_change(changes["mean"], changes["scale"], self.deviation, self.shapes)
        return weight.flatten().index_add(0, self.covered, change).view_as(weight)

    def costs(self) -> list[Costs]:
        """Return the costs of the integers of each stream."""
        return [costs_of(latent.detach()) for latent in self.latents.values()]

    @torch.no_grad()
    def shrink(self, amount: float, costs: Sequence[Costs]) -> None:
        """Move all real numbers towards 0 by ``amount``, in the unit of their step size, times the bits saved."""
        for (name, latent), cost in zip(self.latents.items(), costs, strict=True):
            magnitude = latent.abs()
            bits = torch.where(magnitude < 1, cost.first, cost.more)
            decayed = (magnitude - amount / self.settings.first_step(name) * bits).clamp(min=0)
            latent.copy_(latent.sign() * decayed)

    @torch.no_grad()
    def freeze(self, threshold: float) -> None:
        """Replace the real numbers by integers, those below ``threshold`` by 0."""
        for latent in self.latents.values():
            latent.copy_(rounded(latent, threshold))
        self.hardness.fill_(1)
        self.frozen.fill_(True)

    def groups(self, threshold: float = 0.5) -> list[sparse.Integers]:
        """Return the integers of each stream as they are coded."""
        return [
            rounded(latent.detach(), threshold).flatten().to(torch.int32).cpu().numpy()
            for latent in self.latents.values()
        ]

    def size(self, threshold: float = 0.5) -> int:
        """Return the bits that the layer takes, with all real numbers below ``threshold`` at 0."""
        return 8 * len(sparse.encode(self.groups(threshold))) + STEP_BITS * (len(self.latents) + 1)

    def stored(self) -> dict[str, Tensor]:
        """Return the code of the integers, uint8, and ``steps``, float32.

        ``steps`` has the step size of each stream, and the smallest magnitude of a weight with an integer.
        """
        code = np.frombuffer(sparse.encode(self.groups()), dtype=np.uint8)
        smallest = self.steps.new_tensor([self.smallest])
        return {"code": torch.from_numpy(code.copy()), "steps": torch.cat([self.steps.detach(), smallest])}


class Coded(Reparametrised):
    """Method that adds integers times step sizes to the base's weights, and trains the size of their code."""

    settings: CodedSettings
    component = "code"
    entries = ("code", "steps")
    needs_exact_base = True  # another base would have integers at other weights

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Freeze the network and register the parametrizations; return the parameters to train.

        Raises:
            SettingsError: no kernel and no weight has an integer.
        """
        self.training = start.training
        weights = [layer.weight.detach() for _, layer in self.layers(start.network)]
        self.smallest = smallest_covered(weights, self.settings.covered)
        groups, inside = super().begin_task(start), backbone_parameters(start.network)
        layers = [*self.coded_layers(start.network)]
        if not any(latent.numel() for layer in layers for latent in layer.latents.values()):
            raise SettingsError(
                "method_settings.coded.covered: no weight has an integer, and no layer has kernels of several "
                "weights; raise it"
            )
        every, encoder = self.training.lr_multiplier, self.training.encoder_lr_multiplier
        self.multipliers = [every * (encoder if id(layer.steps) in inside else 1.0) for layer in layers]
        return groups

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a parametrization without changes."""
        return CodedWeight(layer.weight.detach(), output_channels(layer), self.smallest, self.settings)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the changes of each stream as a group, and the step sizes as another one."""
        settings, end = self.settings, self.settings.frozen_after
        coded = [module for module in modules if isinstance(module, CodedWeight)]
        streams = {name: [one.latents[name] for one in coded if name in one.latents] for name in STREAMS}
        changes = [
            ParameterGroup(
                f"changes of each {name}",
                parameters,
                settings.rate / settings.first_step(name),
                betas=(settings.beta1, settings.beta2),
                lr_end=end,
                setting="learning_rate of the method's settings",
            )
            for name, parameters in streams.items()
            if parameters
        ]
        steps = [one.steps for one in coded]
        return [*changes, ParameterGroup("step sizes", steps, settings.step_learning_rate, lr_end=end)]

    def after_step(self, network: nn.Module, progress: float) -> None:
        """Round the changes further, apply their costs, and freeze the integers; see the settings."""
        settings, layers = self.settings, list(self.coded_layers(network))
        if layers[0].frozen:
            return
        budget = settings.bits * number_of_weights(layers)
        if progress >= settings.frozen_after:
            latents = [latent for layer in layers for latent in layer.latents.values() if latent.numel()]
            largest = max(float(latent.detach().abs().max()) for latent in latents)
            threshold = smallest_threshold(
                lambda value: sum(layer.size(value) for layer in layers), budget, largest
            )
            for layer in layers:
                layer.freeze(threshold)
            bits = sum(layer.size() for layer in layers)
            if bits > budget:  # the counts and step sizes of all layers alone
                log.warning(
                    "the code takes %.3g bits per weight without any change, more than the %.3g of "
                    "method_settings.coded.bits: the network is too small for them",
                    *(number / number_of_weights(layers) for number in (bits, budget)),
                )
            return
        hardness = ramp(progress, settings.rounded_from, settings.rounded_until)
        for layer in layers:
            layer.hardness.fill_(hardness)
        if progress > settings.counted_from:
            self.apply_costs(layers, budget, progress)

    def apply_costs(self, layers: Sequence[CodedWeight], budget: float, progress: float) -> None:
        """Steer the factor of the costs towards a size of ``budget`` bits, and apply the costs to all changes."""
        settings, training = self.settings, self.training
        costs = [layer.costs() for layer in layers]
        bits = float(sum(cost.bits for layer in costs for cost in layer))
        pressure = Pressure(*layers[0].pressure.tolist())
        steps = training.steps * (settings.counted_until - settings.counted_from)
        factor = pressure.steer(bits, budget, ramp(progress, settings.counted_from, settings.counted_until), steps)
        step = round(progress * training.steps) - 1
        rate = settings.rate * schedule(step, training.steps, training.warmup, settings.frozen_after)
        for layer, of_layer, multiplier in zip(layers, costs, self.multipliers, strict=True):
            layer.pressure.copy_(torch.tensor(pressure.state))
            layer.shrink(multiplier * rate * factor, of_layer)

    def coded_layers(self, network: nn.Module) -> Iterator[CodedWeight]:
        """Yield the parametrization of each layer during training."""
        for _, layer in self.layers(network):
            coded = parametrization_of(layer)
            assert isinstance(coded, CodedWeight)
            yield coded

    def diagnostics(self, network: nn.Module) -> dict[str, float]:
        """Return bits per weight of the codes, and those of the integers at their entropy.

        The entropy is also given for frequencies of each stream in all layers together, in place of each layer's.
        """
        layers = list(self.coded_layers(network))
        weights = number_of_weights(layers)
        groups = [dict(zip(layer.latents, layer.groups(), strict=True)) for layer in layers]
        streams = [
            np.concatenate([of_layer[name] for of_layer in groups if name in of_layer])
            for name in STREAMS
            if any(name in of_layer for of_layer in groups)
        ]
        return {
            "code/bits_per_weight": sum(layer.size() for layer in layers) / weights,
            "code/entropy_per_weight": sum(sparse.entropy([*of_layer.values()]) for of_layer in groups) / weights,
            "code/entropy_per_weight_without_layers": sparse.entropy(streams) / weights,
        }

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight with the stored changes."""
        return base.clone(memory_format=torch.contiguous_format).put_(*self.changed_weights(layer, base, stored))

    def changed_weights(self, layer: Layer, base: Tensor, stored: LayerTensors) -> tuple[Tensor, Tensor]:
        """Return the positions of the weights of all changed kernels, int64 (n,), and the task's values there."""
        steps, positions_of_weights, groups = decoded(base, stored, self.settings)
        kernels = base.reshape(base.shape[0] * base.shape[1], -1)
        offsets = kernels.shape[1]
        numbers, integers = groups[-1]
        single = positions_of_weights[numbers]
        of_kernels = groups[:-1]
        shifted = torch.cat([positions for positions, _ in of_kernels]) if of_kernels else single[:0]
        rows = torch.cat([shifted, single // offsets]).unique()  # type: ignore[no-untyped-call]
        values = kernels[rows]
        if of_kernels:
            sums = torch.zeros(2, len(rows), 1, device=base.device)
            for of_stream, (positions, numbers_of_stream) in zip(sums, of_kernels, strict=True):
                of_stream[torch.searchsorted(rows, positions), 0] = numbers_of_stream
            filters = rows // base.shape[1] if output_channels(layer) == 0 else rows % base.shape[1]
            deviation = deviations(base, output_channels(layer)).flatten()[filters][:, None]
            mean, scale = (steps["mean"], sums[0]), (steps["scale"], sums[1])
            values = values + kernel_change(mean, scale, deviation, standardised(values))
        places = torch.searchsorted(rows, single // offsets) * offsets + single % offsets
        values.view(-1)[places] += weight_change((steps["weight"], integers), base.flatten()[single])
        every_offset = rows[:, None] * offsets + torch.arange(offsets, device=base.device)
        return every_offset.flatten(), values.flatten()

    def writer(self, layers: Sequence[StoredLayer]) -> Callable[[], None]:
        """Return a function that copies the base's weights and writes those of changed kernels, which it keeps.

        Raises:
            StorageError: a code does not fit its layer.
        """
        patches = []
        for name, layer, base, stored in layers:
            with layer_in_errors(name):
                patches.append((layer.weight, base, *self.changed_weights(layer, base, stored)))

        def write() -> None:
            for weight, base, positions, values in patches:
                weight.copy_(base).put_(positions, values)

        return write


def number_of_weights(layers: Sequence[CodedWeight]) -> int:
    """Return the number of weights of all layers."""
    return sum(layer.number for layer in layers)


def shapes_of(weight: Tensor, number: int, settings: CodedSettings) -> dict[str, tuple[int, ...]]:
    """Return the shape of the integers of each stream for a weight (a, b, …) with ``number`` covered weights.

    A layer of 1×1 kernels has no integers of kernels, which would repeat those of its weights.
    """
    per_kernel = (*weight.shape[:2], *(1 for _ in weight.shape[2:]))
    with_kernels = settings.per_kernel and per_kernel != tuple(weight.shape)
    return (dict.fromkeys(STREAMS[:2], per_kernel) if with_kernels else {}) | {STREAMS[2]: (number,)}


def decoded(
    base: Tensor, stored: LayerTensors, settings: CodedSettings
) -> tuple[dict[str, Tensor], Tensor, list[tuple[Tensor, Tensor]]]:
    """Return step sizes by stream, positions of covered weights, and positions and values of nonzero integers.

    The last are a pair for each stream. The first positions are those in the weight, the others those in the
    integers of a stream.

    Raises:
        StorageError: the code or the step sizes do not fit the layer.
    """
    steps = stored["steps"].to(base.device)
    expected = len(shapes_of(base, 0, settings)) + 1
    if steps.shape != (expected,) or steps.dtype != torch.float32:
        stored_type = f"{str(steps.dtype).removeprefix('torch.')} {tuple(steps.shape)}"
        raise StorageError(
            f"steps: expected float32 ({expected},), found {stored_type}; tasks of coded from files before format "
            "4 cannot be read: train the task again"
        )
    positions_of_weights = covered(base, float(steps[-1]))
    shapes = shapes_of(base, len(positions_of_weights), settings)
    lengths = [math.prod(shape) for shape in shapes.values()]
    groups = sparse.decode(stored["code"].cpu().numpy().tobytes(), lengths)
    tensors = [
        (torch.from_numpy(positions).to(base.device), torch.from_numpy(integers).to(base.device, torch.float32))
        for positions, integers in groups
    ]
    return dict(zip(shapes, steps[:-1], strict=True)), positions_of_weights, tensors


def rounded(latent: Tensor, threshold: float) -> Tensor:
    """Return real numbers as integers up to ±`sparse.LARGEST`; those below ``threshold``, at least ½, become 0."""
    return latent.round().clamp(-sparse.LARGEST, sparse.LARGEST) * (latent.abs() >= threshold)
