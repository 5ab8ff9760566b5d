"""Download of the published weights of timm's networks."""

import logging
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save

from palimpsest.errors import DataError
from palimpsest.storage.atomic import write_bytes

log = logging.getLogger("palimpsest.networks.published")


def provide_encoder(name: str, path: Path) -> None:
    """Download the published weights of timm's network ``name``, and write them to a `.safetensors` file.

    Raises:
        DataError: there are none, or they cannot be downloaded.
    """
    try:
        network: Any = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"network.encoder: weights of {name} cannot be downloaded ({reason}); set network.encoder_weights to a "
            "file with timm's weights, or to random"
        ) from error
    origin = network.pretrained_cfg
    log.info("downloaded %s from %s", name, origin.get("hf_hub_id") or origin.get("url"))
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}))
