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
    """Method that trains and stores one submodule of the trunk and freezes the rest."""

    submodule = "decoder"
    """Prefix of the names of the trained layers."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Freeze the rest; return the submodule, normalisation and head as the parameters to train."""
        freeze(start.network)
        return [weight_group(start, self.submodule), task_group(start)]

    def store(self, network: nn.Module) -> list[Component]:
        """Return the submodule as one component, with normalisation and head."""
        return [Component(self.submodule, trunk_state(network, self.submodule)), *task_components(network)]
