"""`fine-tune`: one network that trains on one task after another and overwrites earlier tasks.

Idea: the simplest method of continual learning, and the one that forgets. Formula: the training of task k starts
from W of task k − 1. Trained: all parameters. Stored: one network, which the next task replaces, and a head per
task.
Forgets: yes; the method is here to show it. Source: the study's second column. Deliberately different from most
published code: each task keeps its own BatchNorm, so that an earlier task runs with its own BatchNorm on changed
weights; with the setting ``batchnorm: shared``, later tasks change BatchNorm too.
"""

from dataclasses import replace

from torch import nn

from palimpsest.methods.base import Component, Method, ParameterGroup, Start, all_groups, task_components
from palimpsest.methods.fine_tune_settings import FineTuneSettings
from palimpsest.networks.trunk import trunk_state


class FineTune(Method):
    """Method that trains all weights from those of the previous task and overwrites them."""

    settings: FineTuneSettings

    def begin_task(self, start: Start) -> list[ParameterGroup]:
        """Return all parameters to train."""
        return all_groups(start)

    def store(self, network: nn.Module) -> list[Component]:
        """Return the trunk, which replaces that of earlier tasks, and BatchNorm and head.

        With the setting ``batchnorm: shared``, BatchNorm replaces that of earlier tasks too.
        """
        batchnorm, head = task_components(network)
        if self.settings.batchnorm == "shared":
            batchnorm = replace(batchnorm, shared=True)
        return [Component("network", trunk_state(network), shared=True), batchnorm, head]
