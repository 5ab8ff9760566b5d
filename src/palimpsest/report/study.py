"""Tables of the study as printed, for comparison with the tables of a run.

Source: N. Matsumoto, lecture slides "Continual learning of image translation networks" (Yanai laboratory,
University of Electro-Communications), published as Matsumoto & Yanai, "Continual Learning of Image
Translation Networks Using Task-Dependent Weight Selection Masks", ACPR 2019, doi
10.1007/978-3-030-41299-9_11. Sizes are MiB.
"""

from typing import NamedTuple

SOURCE = "Matsumoto & Yanai, ACPR 2019, doi 10.1007/978-3-030-41299-9_11"

METHODS = ("scratch", "fine-tune", "decoder", "piggyback", "resblock6", "resblock9")


class ResultRow(NamedTuple):
    """Row of a table of the study: one metric of one task, for each method."""

    task: str
    after: str
    """Task after whose training the metric was measured."""
    metric: str
    values: tuple[float | None, ...]
    """Values in the order of `METHODS`; None for a dash in the study."""


RESULTS = (
    ResultRow("coco-seg", "coco-seg", "miou", (21.47, 21.47, 21.47, 21.47, 0.57, 0.71)),
    ResultRow("voc-seg", "voc-seg", "miou", (58.59, 64.87, 61.63, 61.45, 4.26, 9.54)),
    ResultRow("colorize", "colorize", "ssim", (0.9138, 0.9148, 0.9121, 0.9058, 0.9281, 0.9286)),
    ResultRow("colorize", "colorize", "mse", (244.00, 237.92, 241.66, 242.49, 532.83, 527.13)),
    ResultRow("style-gogh", "style-gogh", "ssim", (0.3678, 0.3555, 0.3595, 0.3501, 0.3467, 0.3524)),
    ResultRow("style-gogh", "style-gogh", "total_loss", (413_833, 405_893, 473_723, 528_587, 460_268, 442_211)),
    ResultRow("style-munch", "style-munch", "total_loss", (447_480, 490_490, 544_348, 521_476, 520_221, 494_600)),
)

FORGETTING = (
    ResultRow("coco-seg", "voc-seg", "miou", (None, 0.70, 21.47, 21.47, 0.57, 0.71)),
    ResultRow("voc-seg", "colorize", "miou", (None, 1.87, 61.63, 61.45, 4.26, 9.54)),
    ResultRow("colorize", "style-gogh", "ssim", (None, 0.5321, 0.9121, 0.9058, 0.9281, 0.9286)),
    ResultRow("colorize", "style-gogh", "mse", (None, 870.18, 241.66, 242.49, 532.83, 527.13)),
)

SIZE_MIB = {
    "scratch": 282.0,
    "fine-tune": 56.4,
    "decoder": 138.4,
    "piggyback": 63.6,
    "resblock6": 683.7,
    "resblock9": 1021.2,
}

# Share of positions at which the masks of two tasks have the same bit; the "mask" of task 1 is all ones.
MASK_SIMILARITY = {
    ("voc-seg", "coco-seg"): 0.5075,
    ("colorize", "coco-seg"): 0.5042,
    ("colorize", "voc-seg"): 0.5054,
    ("style-gogh", "coco-seg"): 0.4326,
    ("style-gogh", "voc-seg"): 0.5034,
    ("style-gogh", "colorize"): 0.5020,
    ("style-munch", "coco-seg"): 0.4529,
    ("style-munch", "voc-seg"): 0.5029,
    ("style-munch", "colorize"): 0.5025,
    ("style-munch", "style-gogh"): 0.5210,
}


class LossRow(NamedTuple):
    """Row of the study's table of losses: residual-block network on Pascal VOC, trained with one loss."""

    name: str
    """Name on the page."""
    method: str
    """Method of this project with the number of blocks that the study states; resblock6 if it states none."""
    loss: str
    """Value of the setting `loss` of a segmentation task."""
    miou: float
    """Mean intersection over union in per cent."""


RESBLOCK_SEGMENTATION = (
    LossRow("L1", "resblock6", "l1", 7.11),
    LossRow("L2", "resblock6", "l2", 4.49),
    LossRow("adversarial, 6 blocks", "resblock6", "adversarial", 4.26),
    LossRow("adversarial, 9 blocks", "resblock9", "adversarial", 9.54),
    LossRow("cross-entropy", "resblock6", "cross-entropy", 52.55),
)
