"""Table of the methods that can be compared; a new method adds one row.

The pipeline's graph reads only this table, which imports no method and no PyTorch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model

from palimpsest.errors import unknown_name
from palimpsest.methods.settings import MethodSettings
from palimpsest.networks import NETWORKS
from palimpsest.schema import SettingsGroup

if TYPE_CHECKING:
    from palimpsest.methods.base import Method

BASE = "base"
"""Name of the training of the base network that methods share; it is stored once per seed."""
AUTOENCODER = "autoencoder"
"""Name of the training of the residual methods' base network, an auto-encoder that learns to return its input."""


@dataclass(frozen=True)
class Entry:
    """Row of `METHODS` or `BASES`: class and settings of a method, and the stored tasks that it starts from."""

    path: str
    """``module:class`` of the method; imported only to build one, because it needs PyTorch."""
    starts_from: Literal["nothing", "base", "previous"]
    """``nothing``: random weights; ``base``: the base network only, so that tasks can train in parallel;
    ``previous``: the network after the previous task, with the stored tasks of all earlier ones."""
    adds_to_base: bool = False
    """True if inference with a stored task needs the base network's file."""
    learns_base_task: bool = False
    """True if the method also trains on the base task and stores its own file; otherwise it uses the base network's
    file for that task."""
    can_forget: bool = False
    """True if later tasks overwrite weights that earlier tasks use. All other methods cannot forget by
    construction; for them, comparing predictions with those recorded after training checks files and loading."""
    together: bool = False
    """True if a single training learns all tasks of the sequence."""
    settings: str = ""
    """``module:class`` of the settings; the module imports no PyTorch. Empty for a method without settings."""
    base_training: str = BASE
    """Training in `BASES`, or method, whose stored base task is the base network of this method."""
    network: Mapping[str, Any] | None = None
    """Settings of the network that the method requires, with its name; None if it uses the network that the user
    chose (`network.name`)."""
    networks: tuple[str, ...] = ()
    """Names of the only networks that the method works on; empty if ``kernels`` and ``submodule`` decide."""
    kernels: bool = False
    """True if the method needs 4-D kernels: every layer of the network has to be a convolution."""
    submodule: str = ""
    """Submodule that each task trains and stores, as ``decoder``; networks without it are refused. Empty: none."""
    can_blend: bool = False
    """True if two tasks can be blended: both mask the weights of the base network."""
    can_chain: bool = False
    """True if the residual blocks of two tasks can be composed in one network."""
    adds_base_steps: bool = field(default=False, repr=False)
    """True if each training also takes the steps of the base network's training, so that the budget in all equals
    that of the methods that start from it. It changes nothing but the job's settings."""


METHODS: dict[str, Entry] = {
    "scratch": Entry("palimpsest.methods.scratch:Scratch", starts_from="nothing"),
    "scratch-long": Entry("palimpsest.methods.scratch:Scratch", starts_from="nothing", adds_base_steps=True),
    "fine-tune": Entry(
        "palimpsest.methods.fine_tune:FineTune",
        starts_from="previous",
        settings="palimpsest.methods.fine_tune_settings:FineTuneSettings",
        can_forget=True,
    ),
    "ewc": Entry(
        "palimpsest.methods.ewc:Ewc",
        starts_from="previous",
        settings="palimpsest.methods.ewc_settings:EwcSettings",
        can_forget=True,
        learns_base_task=True,
    ),
    "lwf": Entry(
        "palimpsest.methods.lwf:Lwf",
        starts_from="previous",
        settings="palimpsest.methods.lwf_settings:LwfSettings",
        can_forget=True,
    ),
    "packnet": Entry(
        "palimpsest.methods.packnet:PackNet",
        starts_from="previous",
        settings="palimpsest.methods.packnet_settings:PackNetSettings",
        learns_base_task=True,
    ),
    "decoder": Entry(
        "palimpsest.methods.decoder:Decoder", starts_from="base", adds_to_base=True, submodule="decoder"
    ),
    "batchnorm": Entry(
        "palimpsest.methods.batchnorm:Batchnorm",
        starts_from="base",
        settings="palimpsest.methods.batchnorm_settings:BatchnormSettings",
        adds_to_base=True,
    ),
    "adapter": Entry(
        "palimpsest.methods.adapter:Adapter",
        starts_from="base",
        settings="palimpsest.methods.adapter_settings:AdapterSettings",
        adds_to_base=True,
        kernels=True,
    ),
    "modulation": Entry(
        "palimpsest.methods.modulation:FilterModulation", starts_from="base", adds_to_base=True, kernels=True
    ),
    "bitdelta": Entry(
        "palimpsest.methods.bitdelta:BitDelta",
        starts_from="base",
        settings="palimpsest.methods.bitdelta_settings:BitDeltaSettings",
        adds_to_base=True,
    ),
    "coded": Entry(
        "palimpsest.methods.coded:Coded",
        starts_from="base",
        settings="palimpsest.methods.coded_settings:CodedSettings",
        adds_to_base=True,
    ),
    "piggyback": Entry(
        "palimpsest.methods.piggyback:Piggyback",
        starts_from="base",
        settings="palimpsest.methods.masks_settings:MaskSettings",
        adds_to_base=True,
        can_blend=True,
    ),
    "piggyback-affine": Entry(
        "palimpsest.methods.piggyback_affine:PiggybackAffine",
        starts_from="base",
        settings="palimpsest.methods.masks_settings:AffineMaskSettings",
        adds_to_base=True,
    ),
    "piggyback-ternary": Entry(
        "palimpsest.methods.piggyback_ternary:PiggybackTernary",
        starts_from="base",
        settings="palimpsest.methods.masks_settings:ScoreSettings",
        adds_to_base=True,
        can_blend=True,
    ),
    "piggyback-gan": Entry(
        "palimpsest.methods.piggyback_gan:PiggybackGan",
        starts_from="previous",
        settings="palimpsest.methods.piggyback_gan_settings:PiggybackGanSettings",
        adds_to_base=True,
        kernels=True,
    ),
    "joint": Entry("palimpsest.methods.joint:Joint", starts_from="nothing", learns_base_task=True, together=True),
    "resblock6": Entry(
        "palimpsest.methods.resblock:Resblock",
        starts_from="base",
        adds_to_base=True,
        learns_base_task=True,
        base_training=AUTOENCODER,
        network={"name": "resblock", "blocks": 6},
        can_chain=True,
    ),
    "resblock9": Entry(
        "palimpsest.methods.resblock:Resblock",
        starts_from="base",
        adds_to_base=True,
        learns_base_task=True,
        base_training=AUTOENCODER,
        network={"name": "resblock", "blocks": 9},
        can_chain=True,
    ),
    "piggyback-resblock": Entry(
        "palimpsest.methods.piggyback_resblock:PiggybackResblock",
        starts_from="base",
        settings="palimpsest.methods.masks_settings:MaskSettings",
        adds_to_base=True,
        base_training="resblock6",
        network={"name": "resblock", "blocks": 6},
        can_blend=True,
        can_chain=True,
    ),
}


BASES: dict[str, Entry] = {
    BASE: Entry("palimpsest.methods.scratch:Scratch", starts_from="nothing", learns_base_task=True),
    AUTOENCODER: Entry(
        "palimpsest.methods.scratch:Scratch",
        starts_from="nothing",
        learns_base_task=True,
        network={"name": "resblock", "blocks": 0},
    ),
}
"""Trainings of base networks on the base task from random weights; they are not compared as methods."""


def entry_of(name: str) -> Entry:
    """Return the row of a method, or of a training of a base network."""
    return BASES[name] if name in BASES else METHODS[name]


def required_network(method: str) -> str:
    """Return the name of the network that a method requires; empty if it uses that of the settings.

    Tables compare methods of the same result. The number of residual blocks may differ, since it is a part of the
    method. The trivial baseline has no network, and so an empty name.
    """
    entry = METHODS.get(method)
    return entry.network["name"] if entry and entry.network else ""


def by_required_network(methods: Iterable[str]) -> dict[str, list[str]]:
    """Return methods by `required_network`: the groups that tables compare."""
    groups: dict[str, list[str]] = {}
    for method in methods:
        groups.setdefault(required_network(method), []).append(method)
    return groups


def networks_of(method: str) -> list[str]:
    """Return the names of the networks in `NETWORKS` that a method works on."""
    entry = entry_of(method)
    if entry.network is not None:
        return [entry.network["name"]]
    return [
        name
        for name, network in NETWORKS.items()
        if name in (entry.networks or NETWORKS)
        and (network.kernels_only or not entry.kernels)
        and (not entry.submodule or entry.submodule in network.submodules)
    ]


def works_on(method: str, network: str) -> bool:
    """Return True if a method works when the user chose this network, also if the method ignores the choice."""
    return entry_of(method).network is not None or network in networks_of(method)


def refusal(method: str, network: str) -> str:
    """Return the error message for a method that does not work on the network that the user chose."""
    names = ", ".join(networks_of(method))
    return f"{method} does not work on the network {network!r}; remove {method}, or set network.name to {names}"


def method_class(name: str) -> "type[Method]":
    """Return the class of a method, or of a training of `BASES`; it is built with the method's settings."""
    method: type[Method] = resolve_name(entry_of(name).path)
    return method


def settings_class(name: str) -> type[MethodSettings] | None:
    """Return the class of a method's settings; None for a method without settings."""
    path = entry_of(name).settings
    settings: type[MethodSettings] | None = resolve_name(path) if path else None
    return settings


def method_settings(values: Mapping[str, Any]) -> dict[str, MethodSettings]:
    """Return the validated settings of every method that has settings, by its name.

    Values that are not given have their defaults.

    Raises:
        ValueError: a name is unknown, the method has no settings, or a value is invalid.
    """
    for name in values:
        if name not in METHODS:
            raise ValueError(unknown_name(name, METHODS, "method"))
        if not METHODS[name].settings:
            raise ValueError(f"{name}: the method has no settings; remove the key")
    groups = _all_groups().model_validate(values)
    return {str(field.alias): getattr(groups, key) for key, field in type(groups).model_fields.items()}


@cache
def _all_groups() -> type[SettingsGroup]:
    """Return a model with the settings of all methods, so that pydantic reports a wrong value with its full key."""
    classes = {name: settings for name in METHODS if (settings := settings_class(name))}
    fields: dict[str, Any] = {
        name.replace("-", "_"): (settings, Field(default=settings(), alias=name))
        for name, settings in classes.items()
    }
    return create_model("AllMethods", __base__=SettingsGroup, **fields)


def default_method_settings() -> dict[str, MethodSettings]:
    """Return the settings of every method that has settings, each at its default."""
    return method_settings({})


def _validated(value: object) -> object:
    return method_settings(value) if isinstance(value, Mapping) else value


AnyMethods = Annotated[dict[str, SerializeAsAny[MethodSettings]], BeforeValidator(_validated)]
"""Type of a settings field with the settings of all methods by name."""
