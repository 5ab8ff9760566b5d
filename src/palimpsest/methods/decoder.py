"""`decoder`: a decoder per task on the base's frozen encoder.

Idea: the encoder's features suit many tasks. Formula: the encoder's W is the base's, the decoder's W is the task's.
Trained: the decoder's convolutions, starting from the base's, BatchNorm and head. Stored: the decoder,
20.50 of 56.37 MiB at the study's width. Forgets: nothing. Source: the study's third column.
Deliberately different: BatchNorm of the frozen encoder also belongs to the task, as in every method here.
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
    """Training and storage of one part of the network, with the rest of the trunk frozen."""

    part = "decoder"
    """Prefix of the names of the trained layers."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Train the part with normalisation and head, and freeze the rest."""
        freeze(start.network)
        return [weight_group(start, self.part), task_group(start)]

    def store(self, network: nn.Module) -> list[Component]:
        """Return the part."""
        return [Component(self.part, trunk_state(network, self.part)), *task_components(network)]
