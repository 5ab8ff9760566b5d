"""`piggyback-resblock`: masks over the residual blocks of the base task.

Idea: the combination of masks and residual blocks that the study names as future work. Formula: w ∘ [s > threshold]
for the weights of the blocks that `resblock6` learned for the base task. Trained: their scores, the scale and shift
at the end of each block, and the head. Stored: one bit per weight of the blocks, 1/32 of what `resblock6` stores;
scales, shifts and head. Forgets: nothing. Source: the study's outlook; Mallya et al., ECCV 2018.
Deliberately different from `piggyback`: the auto-encoder around the blocks has no mask, because it has to encode
pictures.
"""

from collections.abc import Iterator

from torch import nn

from palimpsest.methods.piggyback import Piggyback
from palimpsest.networks.trunk import Layer, trunk_layers


class PiggybackResblock(Piggyback):
    """Method that learns a binary mask over the base task's residual blocks."""

    def layers(self, network: nn.Module) -> Iterator[tuple[str, Layer]]:
        """Yield name and module of the convolutions of the blocks."""
        return ((name, layer) for name, layer in trunk_layers(network) if name.startswith("blocks"))
