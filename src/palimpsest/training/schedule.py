"""Learning rate during a training."""

import math


def schedule(step: int, steps: int, warmup: float, lr_end: float = 1.0) -> float:
    """Return the learning rate of a step as a fraction of its peak: linear warm-up to 1, then cosine decay to 0.

    ``warmup`` and ``lr_end`` are fractions of ``steps``: the warm-up ends at the first, the decay at the second.
    """
    peak, end = max(1, round(warmup * steps)), round(lr_end * steps)
    if step < peak:
        return (step + 1) / peak
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - peak) / max(1, end - peak))))
