"""`piggyback`: the base network is frozen, and each task is a mask of one bit per weight.

Idea: a task is the choice of which of the base's weights take part. Formula: w ∘ [s > threshold], the scores s
trained straight-through (`palimpsest.methods.masks`). Trained: one score per weight of a layer, BatchNorm,
head. Stored: one bit per weight, 1.76 MiB at the study's width instead of 56.40. Forgets: nothing, since no
weight ever changes. Source: Mallya et al., ECCV 2018; the study's fourth column.
Deliberately different, for trainings that are short: BatchNorm trains per task (there it is frozen or per data
set); scores start in proportion to the weights' magnitudes (there all alike), at a higher rate (there 1e-4, at
which hardly a bit moves), and their Adam forgets sooner; `ScoreSettings` has the original's value of each.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from palimpsest.methods.base import MASK, ParameterGroup, Start
from palimpsest.methods.masks import BinaryMask, initial_scores, unpack, write_masked
from palimpsest.methods.reparametrised import LayerTensors, LayerWeight, Reparametrised, learned
from palimpsest.networks.trunk import Layer


class Piggyback(Reparametrised):
    """A binary mask over the base's frozen weights."""

    component = MASK
    entries: tuple[str, ...] = ("mask",)

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a mask that starts as all ones."""
        return BinaryMask(initial_scores(layer.weight.detach(), self.settings), self.settings)

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the scores, with a pace of their own."""
        return [self.score_group([module.get_parameter("score") for module in modules])]

    def score_group(self, scores: list[nn.Parameter]) -> ParameterGroup:
        """Scores with the settings that are theirs."""
        settings = self.settings
        return ParameterGroup(
            "scores",
            scores,
            settings.score_learning_rate,
            betas=(settings.score_beta1, settings.score_beta2),
            lr_end=settings.score_lr_end,
            setting="score_learning_rate of the method's settings",
        )

    def after_step(self, network: nn.Module, progress: float) -> None:
        """Average the scores over the last steps of their training, where the settings say so."""
        rest, averaged = self.settings.score_lr_end, self.settings.averaged
        if not averaged or progress <= rest - averaged:
            return
        for mask in self.masks(network):
            if progress <= rest:
                mask.update_average()
            if progress >= rest and mask.averaged_steps:  # at a learning rate of zero they stay
                mask.apply_average()

    def masks(self, network: nn.Module) -> Iterator[BinaryMask]:
        """Return the masks that a network is learning."""
        for _, layer in self.layers(network):
            mask = learned(layer)
            assert isinstance(mask, BinaryMask)
            yield mask

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight through the mask."""
        return torch.where(unpack(stored["mask"], base.shape), base, 0.0)

    def write(self, layers: Iterable[tuple[Layer, Tensor, LayerTensors]]) -> None:
        """As `weight` says, at the speed of the memory."""
        write_masked((layer.weight, base, stored["mask"]) for layer, base, stored in layers)
