"""`piggyback`: the base network is frozen, and each task is a mask of one bit per weight.

Idea: a task is the choice of which of the base's weights take part. Formula: w ∘ [s > threshold], the scores s
trained straight-through (`palimpsest.methods.masks`). Trained: one score per convolution weight, BatchNorm,
head. Stored: one bit per weight, 1.76 MiB at the study's width instead of 56.40. Forgets: nothing, since no
weight ever changes. Source: Mallya et al., ECCV 2018; the study's fourth column.
Deliberately different: BatchNorm trains per task (there it is frozen or per data set), and the learning rate of
the scores is a setting of its own, since at the original 1e-4 hardly a bit moves in a short training.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.methods.base import Component, Method, ParameterGroup, Start, task_components, task_group
from palimpsest.methods.masks import BinaryMask, FixedMask, initial_scores, learned_mask, mask_layer, pack, unpack
from palimpsest.networks.trunk import freeze, trunk_layers


class Piggyback(Method):
    """A binary mask over the base's frozen weights."""

    def begin(self, start: Start) -> list[ParameterGroup]:
        """The scores train, with BatchNorm and head."""
        freeze(start.network)
        scores = []
        for _, layer in trunk_layers(start.network):
            mask = BinaryMask(initial_scores(layer.weight.detach(), self.settings), self.settings.threshold)
            mask_layer(layer, mask)
            scores.append(mask.score)
        settings = self.settings
        group = ParameterGroup(
            "scores",
            scores,
            settings.score_learning_rate,
            beta2=settings.score_beta2,
            setting="method_settings.piggyback.score_learning_rate",
        )
        return [group, task_group(start)]

    def store(self, network: nn.Module) -> list[Component]:
        """The mask, one packed entry per layer under the layer's name."""
        bits = {name: pack(learned_mask(layer)) for name, layer in trunk_layers(network)}
        return [Component("mask", bits), *task_components(network)]

    def recall(self, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Lay the stored mask over the base's weights, which stay as they are."""
        rest = dict(tensors)
        for name, layer in list(trunk_layers(network)):
            if name not in rest:
                raise StorageError(
                    f"there is no mask for the layer {name!r}: the stored task is of another network"
                )
            mask = unpack(rest.pop(name), layer.weight.shape).to(layer.weight.device)
            mask_layer(layer, FixedMask(mask))
        super().recall(network, rest)
