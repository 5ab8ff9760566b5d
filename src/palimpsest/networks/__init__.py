"""Table of the networks; a new network adds one row.

Settings read only this table, which imports no network and no PyTorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from palimpsest.errors import unknown_name
from palimpsest.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from palimpsest.networks.base import Network


@dataclass(frozen=True)
class NetworkEntry:
    """Row of `NETWORKS`: the classes of a network, and the properties that decide which methods work on it."""

    path: str
    """``module:class`` of the network; imported only to build one, because it needs PyTorch."""
    settings: str = "palimpsest.networks.settings:NetworkSettings"
    """``module:class`` of the settings; the module imports no PyTorch."""
    modules: tuple[str, ...] = ()
    """Names of modules that the network imports by name; the digest of the code covers them."""
    kernels_only: bool = False
    """True if every layer of the trunk is a convolution, with a 4-D kernel as weight."""
    submodules: tuple[str, ...] = ()
    """Names of the submodules that a method can train while all others stay frozen, as ``decoder``."""


NETWORKS: dict[str, NetworkEntry] = {
    "unet": NetworkEntry(
        "palimpsest.networks.unet:UNet",
        settings="palimpsest.networks.unet_settings:UNetSettings",
        modules=("palimpsest.networks.backbone",),
        kernels_only=True,
        submodules=("encoder", "decoder"),
    ),
    "resblock": NetworkEntry(
        "palimpsest.networks.resblock:ResblockNetwork",
        settings="palimpsest.networks.resblock_settings:ResblockSettings",
        kernels_only=True,
    ),
    "encoder": NetworkEntry(
        "palimpsest.networks.encoder:EncoderNetwork",
        settings="palimpsest.networks.encoder_settings:EncoderSettings",
        kernels_only=True,
    ),
}
DEFAULT = "unet"
"""Default of `network.name`."""


def build_network(settings: NetworkSettings, head_channels: int) -> "Network":
    """Build a network on the CPU with random weights and a head for one task.

    ``head_channels`` is the number of the head's output channels.

    Raises:
        CodeError: the network's class or its row in the table is wrong.
    """
    entry = NETWORKS[settings.name]
    network: Network = resolve_name(entry.path).from_settings(settings, head_channels)
    network.check_contract(entry, head_channels)
    return network


def network_settings(values: Mapping[str, Any]) -> NetworkSettings:
    """Return the validated settings of a network; ``values["name"]`` is its name, by default `DEFAULT`.

    Raises:
        ValueError: the name is unknown or a value is invalid.
    """
    name = values.get("name", DEFAULT)
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(f"name: {unknown_name(name, NETWORKS, 'network')}")
    settings: NetworkSettings = resolve_name(NETWORKS[name].settings).model_validate({**values, "name": name})
    return settings


def default_network() -> NetworkSettings:
    """Return the settings of the default network, each at its default."""
    return network_settings({})


def _validated(value: object) -> object:
    return network_settings(value) if isinstance(value, Mapping) else value


AnyNetwork = Annotated[SerializeAsAny[NetworkSettings], BeforeValidator(_validated)]
"""Type of a settings field with the settings of any network."""


def _with_names(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    for name, settings in value.items():
        if name not in NETWORKS:
            raise ValueError(unknown_name(name, NETWORKS, "network"))
        if isinstance(settings, Mapping) and "name" in settings:
            raise ValueError(f"{name}.name: the key {name!r} is the name of the network already; remove name")
    return {
        name: {**settings, "name": name} if isinstance(settings, Mapping) else settings
        for name, settings in value.items()
    }


AnyNetworks = Annotated[dict[str, AnyNetwork], BeforeValidator(_with_names)]
"""Type of a settings field with the settings of several networks by name."""
