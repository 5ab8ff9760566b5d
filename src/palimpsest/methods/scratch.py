"""`scratch`: a separate network for every task.

Idea: the quality of one network per task, as the reference for other methods; no method of continual learning.
Formula: each task has its own W. Trained: all parameters, from random weights. Stored: the whole network, per task.
Forgets: nothing, because tasks share nothing. Source: the study's first column. Deliberately different: nothing.
The base network trains in the same way, with its own number of steps (`base.steps`).
"""

from torch import nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, all_groups, task_components
from palimpsest.networks.trunk import trunk_state


class Scratch(Method):
    """Method that trains and stores a whole network per task, from random weights."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Return all parameters to train."""
        return all_groups(start)

    def store(self, network: nn.Module) -> list[Component]:
        """Return the whole network as components."""
        return [Component("network", trunk_state(network)), *task_components(network)]
