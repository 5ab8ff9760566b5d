"""`piggyback`: a frozen base network, and a mask of one bit per weight for each task.

Idea: a task selects a subset of the base's weights. Formula: w ∘ [s > threshold], with scores s trained
straight-through (`palimpsest.methods.masks`). Trained: one score per weight of a layer, BatchNorm, head. Stored:
one bit per weight, 1.76 MiB at the study's width instead of 56.40. Forgets: nothing, because no weight changes.
Source: Mallya et al., ECCV 2018; the study's fourth column.
Deliberately different, for short trainings: each task trains its BatchNorm (original: frozen or per data set);
initial scores are proportional to the weights' magnitudes (original: constant); the learning rate is higher
(original: 1e-4, which changes hardly a bit), with warm-up, cosine decay and clipped gradients (original: a rate
that falls in steps, no clipping); Adam's means decay faster. `ScoreSettings` lists the original values.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from palimpsest.methods.base import MASK, ParameterGroup, Start
from palimpsest.methods.masks import BinaryMask, Mask, initial_scores, mask_writer, unpack
from palimpsest.methods.masks_settings import MaskSettings, ScoreSettings
from palimpsest.methods.reparametrised import (
    LayerTensors,
    LayerWeight,
    Reparametrised,
    StoredLayer,
    parametrization_of,
)
from palimpsest.networks.trunk import Layer


class MaskMethod(Reparametrised):
    """Base class of the methods that learn a mask over the base's frozen weights, with a score per weight."""

    settings: ScoreSettings
    component = MASK

    def groups(self, modules: list[LayerWeight], start: Start) -> list[ParameterGroup]:
        """Return the scores as one group, with their own learning rate."""
        return [self.score_group([module.get_parameter("score") for module in modules])]

    def score_group(self, scores: list[nn.Parameter]) -> ParameterGroup:
        """Return these scores as a group with the optimiser settings of `ScoreSettings`."""
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
        """Average the scores over the last steps of their training, if the setting `averaged` is above 0.

        When their learning rate reaches zero, the mean replaces the scores.
        """
        end, averaged = self.settings.score_lr_end, self.settings.averaged
        if not averaged or progress <= end - averaged:
            return
        for mask in self.masks(network):
            if progress <= end:
                mask.update_average()
            if progress >= end and mask.averaged_steps:  # the learning rate is zero from here on
                mask.apply_average()

    def masks(self, network: nn.Module) -> Iterator[Mask]:
        """Yield the mask of each layer during training."""
        for _, layer in self.layers(network):
            mask = parametrization_of(layer)
            assert isinstance(mask, Mask)
            yield mask


class Piggyback(MaskMethod):
    """Method that learns a binary mask over the base's frozen weights."""

    settings: MaskSettings
    entries: tuple[str, ...] = ("mask",)

    def make_parametrization(self, layer: Layer, name: str, start: Start) -> LayerWeight:
        """Return a mask of ones with trainable scores."""
        return BinaryMask(initial_scores(layer.weight.detach(), self.settings), self.settings)

    def weight(self, layer: Layer, base: Tensor, stored: LayerTensors) -> Tensor:
        """Return the base's weight, zero where the stored mask is 0."""
        return torch.where(unpack(stored["mask"], base.shape), base, 0.0)

    def writer(self, layers: Sequence[StoredLayer]) -> Callable[[], None]:
        """Return a function that writes the weights that `weight` returns, in less time; see `mask_writer`.

        Raises:
            StorageError: the number of bytes of a mask does not fit its layer.
        """
        return mask_writer((name, layer.weight, base, stored["mask"]) for name, layer, base, stored in layers)
