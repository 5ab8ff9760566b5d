"""Two tasks of a bundle on a photograph of any size."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from palimpsest.bundle import Bundle
from palimpsest.composition import UNBLENDED, Predict, blend
from palimpsest.data.pictures import Limits, Pixels, read_picture
from palimpsest.errors import DataError, SettingsError
from palimpsest.inference import Predictor
from palimpsest.methods import METHODS
from palimpsest.tasks.base import Batch
from palimpsest.translation import Translator, padded_to_stride

MAX_SAMPLES = 32
"""Largest number of pictures on which a blend measures the statistics of BatchNorm."""

Translate = Callable[[Pixels, Path], Image.Image]
"""Function from a photograph, uint8 (H, W, 3), and its name in errors, to the composed picture of its size."""


class Composed(Predictor):
    """Predictor of two tasks in one pass; network and task are those of the second."""

    def __init__(self, second: Predictor, predict: Predict) -> None:
        super().__init__(second.network, second.task)
        self._predict = predict

    def predict(self, batch: Batch) -> Tensor:
        """Return the predictions of both tasks for ``batch["picture"]``."""
        return self._predict(batch)


def composed_translator(
    bundle: Bundle, first: str, second: str, how: str, alpha: float, pictures: Sequence[Path], limits: Limits
) -> Translate:
    """Return a function that translates photographs by two tasks of a bundle.

    ``how`` is a way of `palimpsest.composition`. A blend has the share ``alpha`` of the first task and measures
    BatchNorm on ``pictures``.

    Raises:
        SettingsError: the method of the tasks does not allow this way.
        DataError: a blend cannot read any of the pictures.
    """
    translators = [bundle.translator(name) for name in (first, second)]
    if how == "two-stage":
        return two_stage(*translators)
    needed = "can_blend" if how == "blend" else "can_chain"
    for name in (first, second):
        entry = bundle.entry(name)
        on_base = entry.base_sha256 is not None
        if not (on_base and entry.method in METHODS and getattr(METHODS[entry.method], needed)):
            methods = ", ".join(key for key, row in METHODS.items() if getattr(row, needed))
            raise SettingsError(
                f"{name}: was learned by {entry.method}, and {how} needs tasks of {methods}; use two-stage"
            )
    one, two = (translator.predictor for translator in translators)
    if how == "blend":
        predictor = blend(one, two, alpha, samples(pictures, translators[1], limits))
    else:
        predictor = Composed(two, UNBLENDED[how](one, two))
    base = translators[1]
    composed = Translator(predictor, base.size, base.window, base.device)
    return composed.image


def two_stage(first: Translator, second: Translator) -> Translate:
    """Return the composition in which the picture of the first task goes through the second."""

    def translate(photograph: Pixels, name: Path) -> Image.Image:
        return second.image(first(photograph, name), name)

    return translate


def samples(pictures: Sequence[Path], translator: Translator, limits: Limits) -> Iterator[Batch]:
    """Yield some pictures, scaled to the size in training, as batches of one; unreadable ones are skipped.

    Raises:
        DataError: no picture can be read, or one is too large for the memory at this size.
    """
    used = 0
    for path in pictures:
        try:
            photograph = read_picture(path, limits)
        except DataError:
            continue  # it is reported when it is translated
        working = translator.scaled(photograph, translator.size, path)
        yield translator.batch(padded_to_stride(working, translator.network.stride))
        used += 1
        if used == MAX_SAMPLES:
            return
    if not used:
        others = f" and {len(pictures) - 1} more" if len(pictures) > 1 else ""
        raise DataError(
            f"{pictures[0]}{others}: cannot be read; a blend measures BatchNorm on the pictures, so name others"
        )
