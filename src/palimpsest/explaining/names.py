"""Names of the conditions of the experiments, which the experiments and their page share; imports no PyTorch."""

UNTRAINED = "untrained"
"""Base network that no task has trained."""
NO_MASK = "no mask"
WEIGHTS, SIGNS = "weights", "sign × mean magnitude"
NEW_MASK, OLD_MASK = "new mask", "mask of the weights"
AS_TRAINED, RESCALED = "filters as trained", "filters rescaled"
LEARNED_BATCHNORM, FIXED_BATCHNORM = "BatchNorm learned", "BatchNorm of the base"
OCTAVES = 2.0
"""Filters are multiplied by factors between 2 to the power of −`OCTAVES` and of `OCTAVES`."""

FLIPPED = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of flipped bits."""
KEPT = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the zeros of a mask that stay zeros."""
STORED, RECOMPUTED = "statistics as stored", "statistics computed again"
BY_RETURN, BY_REMOVAL = "by the loss if they return", "by the loss when removed"
LARGEST, AT_RANDOM = "of the largest weights", "at random"
AS_LEARNED, ONES = "as learned", "all ones"
IN_FILTERS, IN_LAYERS = "shuffled in filters", "shuffled in layers"
IN_CLASSES = "shuffled in classes of magnitude"

BY_MAGNITUDE, BY_OFFSET = "magnitude", "offset"
AFTER_EQUAL_START = "magnitude, scores equal at first"
CLASSES = 10
"""Number of classes of magnitude, of equal size in each layer; the last has the largest weights."""
OFFSETS = {0: "centre", 1: "edge", 2: "corner"}
"""Names of the offsets of a 3 × 3 kernel by their distance from its centre, in steps along the sides."""
SAME_TASK = "same task, another seed"
LAYERS, BY_SIGN = "layer alone", "sign"
EARLIER = "mask of "
"""Start of the name of a context; the name of an earlier task follows."""

TRANSLATION, CLASSIFICATION = "segmentation", "classification"
CLASSIFICATION_UNET = "classification by the same network"

PARTS = ("head", "BatchNorm and head", "mask and head", "mask, BatchNorm and head")
"""Trained parts of a task."""
