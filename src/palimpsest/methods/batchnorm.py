"""`batchnorm`: the base network with BatchNorm and head per task; the cheapest baseline that trains.

Idea: scale and shift of each channel are enough to use the same filters for another task. Formula: γ · x̂ + β after
every convolution. Trained: only BatchNorm and head, which every method here trains. Stored: 15.5 KiB at the study's
width, and the head. Forgets: nothing. Source: Bilen and Vedaldi, Universal representations, 2017; Mudrakarta et
al., K For The Price Of 1, ICLR 2019.
Deliberately different: each task trains alone on the base network and starts from its running statistics (original:
all tasks together).
"""

from dataclasses import replace

from torch import nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, task_components, task_group
from palimpsest.methods.batchnorm_settings import BatchnormSettings
from palimpsest.networks.trunk import freeze


class Batchnorm(Method):
    """Method that trains and stores only BatchNorm and head, on the base network's frozen weights."""

    settings: BatchnormSettings

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Freeze the trunk; return BatchNorm and head as the parameters to train."""
        freeze(start.network)
        group = task_group(start)
        return [replace(group, learning_rate=group.learning_rate * self.settings.lr_multiplier)]

    def store(self, network: nn.Module) -> list[Component]:
        """Return BatchNorm and head as components."""
        return task_components(network)
