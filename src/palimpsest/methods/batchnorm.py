"""`batchnorm`: the base network with a BatchNorm and a head of the task's own: the honest cheap rival.

Idea: scale and shift of each channel are enough to use the same filters for another task. Formula: γ · x̂ + β
behind every convolution. Trained: BatchNorm and head, which every method here trains; this one trains nothing
else. Stored: 62 KiB at the study's width, and the head. Forgets: nothing. Source: Bilen and Vedaldi, Universal
representations, 2017; Mudrakarta et al., K For The Price Of 1, ICLR 2019.
Deliberately different: tasks are learned one by one on the base network, not all together, and start from its
statistics.
"""

from dataclasses import replace

from torch import nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, task_components, task_group
from palimpsest.networks.trunk import freeze


class Batchnorm(Method):
    """BatchNorm and head alone."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """BatchNorm and head train."""
        freeze(start.network)
        group = task_group(start)
        return [replace(group, learning_rate=group.learning_rate * self.settings.lr_multiplier)]

    def store(self, network: nn.Module) -> list[Component]:
        """BatchNorm and head."""
        return task_components(network)
