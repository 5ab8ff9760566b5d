"""`piggyback`: the base network is frozen, and each task is a mask of one bit per weight.

Idea: a task is the choice of which of the base's weights take part. Formula: w ∘ [s > threshold], the scores s
trained straight-through (`palimpsest.methods.masks`). Trained: one score per convolution weight, BatchNorm,
head. Stored: one bit per weight, 1.76 MiB at the study's width instead of 56.40. Forgets: nothing, since no
weight ever changes. Source: Mallya et al., ECCV 2018; the study's fourth column.
Deliberately different: BatchNorm trains per task (there it is frozen or per data set), and the learning rate of
the scores is a setting of its own, since at the original 1e-4 hardly a bit moves in a short training.
"""

from torch import nn

from palimpsest.errors import StorageError
from palimpsest.methods.base import Component, Method, ParameterGroup, Start, State, task_components, task_group
from palimpsest.methods.masks import BinaryMask, binary_mask, initial_scores, mask_layer, pack, write_masked
from palimpsest.networks.trunk import freeze, trunk_layers


class Piggyback(Method):
    """A binary mask over the base's frozen weights."""

    def begin(self, start: Start) -> list[ParameterGroup]:
        """The scores train, with BatchNorm and head."""
        freeze(start.network)
        scores = []
        for _, layer in trunk_layers(start.network):
            mask = BinaryMask(initial_scores(layer.weight.detach(), self.settings), self.settings)
            mask_layer(layer, mask)
            scores.append(mask.score)
        settings = self.settings
        group = ParameterGroup(
            "scores",
            scores,
            settings.score_learning_rate,
            betas=(settings.score_beta1, settings.score_beta2),
            share=settings.score_share,
            setting="method_settings.piggyback.score_learning_rate",
        )
        return [group, task_group(start)]

    def after_step(self, network: nn.Module, share: float) -> None:
        """Average the scores over the last steps of their training, where the settings say so."""
        rest, averaged = self.settings.score_share, self.settings.averaged
        if not averaged or share <= rest - averaged:
            return
        for _, layer in trunk_layers(network):
            mask = binary_mask(layer)
            if share <= rest:
                mask.take()
            if share >= rest and mask.taken:  # at a learning rate of zero they stay
                mask.settle()

    def store(self, network: nn.Module) -> list[Component]:
        """The mask, one packed entry per layer under the layer's name."""
        bits = {name: pack(binary_mask(layer).bits) for name, layer in trunk_layers(network)}
        return [Component("mask", bits), *task_components(network)]

    def recall(self, network: nn.Module, base: State, tensors: State) -> None:
        """Write the base's weights through the stored mask."""
        rest, layers = dict(tensors), []
        for name, layer in trunk_layers(network):
            if name not in rest:
                raise StorageError(
                    f"there is no mask for the layer {name!r}: the stored task is of another network"
                )
            layers.append((layer.weight, base[f"{name}.weight"], rest.pop(name)))
        write_masked(layers)
        super().recall(network, {}, rest)
