"""`fine-tune`: one network that is trained on and on, and overwrites what it knew.

Idea: the simplest way to go on learning, and the one that forgets. Formula: W of task k is where the training of
task k ends that starts from W of task k − 1. Trained: every weight. Stored: one network in all, which the next
task replaces, and a head per task. Forgets: yes, that is what it is here to show. Source: the study's second
column. Deliberately different from most published code: BatchNorm is kept per task, so that an earlier task is
run with its own on weights that have moved on; with the setting ``shared`` it moves on too.
"""

from dataclasses import replace

from torch import nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, everything, task_components
from palimpsest.networks.trunk import trunk_state


class FineTune(Method):
    """All weights from the task before; the weights are shared by all tasks."""

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Everything trains."""
        return everything(start)

    def store(self, network: nn.Module) -> list[Component]:
        """Return the moving network, in place of the one stored before."""
        batchnorm, head = task_components(network)
        if self.settings.batchnorm == "shared":
            batchnorm = replace(batchnorm, shared=True)
        return [Component("network", trunk_state(network), shared=True), batchnorm, head]
