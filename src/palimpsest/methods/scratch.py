"""`scratch`: a network of its own for every task.

Idea: what one network per task achieves; the yardstick, not a way to learn continually. Formula: a W of its own
for each task. Trained: every weight, from random ones. Stored: the whole network, per task. Forgets: nothing,
since nothing is shared. Source: the study's first column. Deliberately different: nothing. The base network is
trained in the same way, for steps of its own (`base.steps`).
"""

from torch import nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, everything, task_components
from palimpsest.networks.trunk import trunk_state


class Scratch(Method):
    """All weights from random ones; the whole network is the task's."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Everything trains."""
        return everything(start)

    def store(self, network: nn.Module) -> list[Component]:
        """Return the whole network."""
        return [Component("network", trunk_state(network)), *task_components(network)]
