"""`fine-tune`: one network that is trained on and on, and overwrites what it knew.

Idea: the simplest way to go on learning, and the one that forgets. Trained: every weight, starting from the
task before. Stored: one network in all, which the next task replaces; BatchNorm and head are kept per task, so
an earlier task is run with its own head on weights that have moved on. With BatchNorm ``shared`` it moves on too.
Forgets: yes, that is what it is here to show. Source: the study's second column.
"""

from dataclasses import replace

from torch import nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, everything, task_components
from palimpsest.networks.trunk import trunk_state


class FineTune(Method):
    """All weights from the task before; the weights are shared by all tasks."""

    def begin(self, start: Start) -> list[ParameterGroup]:
        """Everything trains."""
        return everything(start)

    def store(self, network: nn.Module) -> list[Component]:
        """The moving network, in place of the one stored before."""
        batchnorm, head = task_components(network)
        if self.settings.batchnorm == "shared":
            batchnorm = replace(batchnorm, shared=True)
        return [Component("network", trunk_state(network), shared=True), batchnorm, head]
