"""Note on the downloads of a run. Only a run that makes data or weights imports this module, which takes time."""

from collections.abc import Sequence

from palimpsest.data.download import DOWNLOADS
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.sources import WEIGHTS, archives_beside, local_weights
from palimpsest.settings import Settings


def download_note(
    settings: Settings, datasets: Sequence[str], networks: Sequence[str], encoders: Sequence[str]
) -> str:
    """Return a line on the downloads of a run, and on the way to avoid them; empty without downloads.

    ``datasets`` are the data sets that the run makes. ``networks`` and ``encoders`` are the perceptual networks and
    the encoders with weights that it makes. Files that were downloaded before are left out.
    """
    layout = settings.layout
    archives = [
        archive
        for name in datasets
        if isinstance(dataset := settings.datasets[name], PublicDatasetSettings) and dataset.source == "download"
        for archive in dataset.archives
        if not (archives_beside(layout.manifest(name).parent) / archive).exists()
    ]
    weights = [
        WEIGHTS[name]
        for name in networks
        if not local_weights(name, settings.data_root) and not (layout.weights / WEIGHTS[name]).exists()
    ]
    texts, advice = [], []
    if files := [*archives, *weights]:
        megabytes = sum(DOWNLOADS[name].megabytes for name in files)
        size = f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"
        texts.append(f"{', '.join(files)} ({size})")
    if archives:
        advice.append("set data_root to a folder with coco/, voc/ and weights/")
    elif weights:
        advice.append(f"put the weights into {settings.data_root or 'the folder data_root'}/weights/")
    for name in encoders:
        texts.append(f"the weights of {name} from timm's hub")
        advice.append("set network.encoder_weights to a file with timm's weights")
    if not texts:
        return ""
    return f"the run downloads {' and '.join(texts)}; to avoid that, {' and '.join(advice)}"
