"""`decoder`: a decoder per task on an encoder that is frozen after the first.

Idea: the encoder's features serve many tasks. Trained: the decoder's convolutions, starting from the base's.
Stored: the decoder, 20.51 of 56.40 MiB at the study's width. Forgets: nothing. Source: the study's third column.
Deliberately as in every method here, the BatchNorm layers of the frozen encoder belong to the task.
"""

from torch import nn

from palimpsest.methods.base import (
    Component,
    Method,
    ParameterGroup,
    Start,
    task_components,
    task_group,
    weight_group,
)
from palimpsest.networks.trunk import freeze, trunk_state


class Decoder(Method):
    """The decoder from the base's; the encoder's convolutions stay frozen."""

    def begin(self, start: Start) -> list[ParameterGroup]:
        """The decoder's convolutions train, with BatchNorm and head."""
        freeze(start.network)
        return [weight_group(start, "decoder"), task_group(start)]

    def store(self, network: nn.Module) -> list[Component]:
        """The decoder."""
        return [Component("decoder", trunk_state(network, "decoder")), *task_components(network)]
