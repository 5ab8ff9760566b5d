"""All settings of one preset, checked. Nothing below this module sees a dict.

Groups stand beside what they set: `palimpsest.groups` those that everything shares, and a module `…_settings` each
method, network, kind of task and data format. `palimpsest.params` reads them from `params.yaml` and the command
line; `palimpsest.jobs` cuts out what a single job depends on.
"""

import typing
from typing import Annotated

from pydantic import Field, model_validator

from palimpsest.composition_settings import CompositionSettings
from palimpsest.data.formats import FORMATS, AnyDataset, formats_with
from palimpsest.errors import SettingsError, nearest
from palimpsest.groups import BaseSettings, PictureSettings, TrainingOverrides, TrainingSettings
from palimpsest.layout import Layout
from palimpsest.methods import METHODS, entry_of, refusal, works_on
from palimpsest.methods.settings import AnyMethodSettings, default_method_settings
from palimpsest.networks import DEFAULT, AnyNetwork, AnyNetworks, default_network, network_settings
from palimpsest.networks.settings import NetworkSettings
from palimpsest.schema import Name, SettingsGroup, UserPath
from palimpsest.tasks import KINDS, AnyTask


class Variant(SettingsGroup):
    """Variant of a sweep that these settings are."""

    name: str
    own_base: bool
    """True if the changed settings make another base network."""


class Settings(SettingsGroup):
    """All settings of one preset."""

    preset: Name
    data_root: UserPath | None = None
    """A folder in the native COCO / VOC layout, read in place of downloads."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    methods: Annotated[list[str], Field(min_length=1)]
    """Names of methods; `all` stands for every one that works on the network."""
    sequence: Annotated[list[Name], Field(min_length=1)]
    """The tasks in the order in which they are learned; the first makes the base network."""
    samples: Annotated[int, Field(ge=1)] = 6
    """Pictures of each task that the report shows."""
    network: AnyNetwork = Field(default_factory=default_network)
    """The network of every method that brings none of its own."""
    networks: AnyNetworks = {}
    """By name, the networks that methods bring, as far as they differ from `network`."""
    base: BaseSettings = BaseSettings()
    autoencoder: TrainingOverrides = TrainingOverrides()
    """Overrides for the training of the residual networks' auto-encoder."""
    pictures: PictureSettings = PictureSettings()
    training: TrainingSettings = TrainingSettings()
    method_settings: AnyMethodSettings = Field(default_factory=default_method_settings)
    datasets: dict[Name, AnyDataset]
    tasks: dict[Name, AnyTask]
    compositions: list[CompositionSettings] = Field(default=[], exclude=True)
    """Compositions that `snakemake compositions` makes. Nothing else depends on them, so no digest has them."""
    variant: Variant | None = None
    """Set by `palimpsest.sweeps.vary`, and by nobody else."""

    @property
    def layout(self) -> Layout:
        """Paths of the preset or variant."""
        if self.variant is None:
            return Layout(self.preset)
        return Layout(self.preset, self.variant.name, self.variant.own_base)

    @model_validator(mode="before")
    @classmethod
    def _all_methods(cls, values: object) -> object:
        if not isinstance(values, dict) or values.get("methods") not in ("all", ["all"]):
            return values
        network = values.get("network")
        name = network.get("name", DEFAULT) if isinstance(network, dict) else DEFAULT
        return {**values, "methods": [method for method in METHODS if works_on(method, str(name))]}

    @model_validator(mode="after")
    def _names_exist(self) -> typing.Self:
        for key, names, choices in (
            ("methods", self.methods, METHODS),
            ("sequence", self.sequence, self.tasks),
        ):
            for name in names:
                if name not in choices:
                    raise ValueError(f"{key}: there is no {name!r}{nearest(name, choices)}")
        for key, values in (("methods", self.methods), ("sequence", self.sequence), ("seeds", self.seeds)):
            if len({*values}) < len(values):
                raise ValueError(f"{key}: one stands twice in {values}")
        for name in self.sequence:
            data = self.tasks[name].data
            if data not in self.datasets:
                raise ValueError(f"tasks.{name}.data: there is no data set {data!r}{nearest(data, self.datasets)}")
            form, kind = self.datasets[data].format, self.tasks[name].kind
            target = KINDS[kind].target
            if not FORMATS[form].serves(target):
                raise ValueError(
                    f"tasks.{name}.data: a task of kind {kind} cannot learn from {form} data; choose a data set of "
                    f"format {' or '.join(formats_with(target))}"
                )
            reason = self.datasets[data].unfit_for(target)
            if reason is not None:
                raise ValueError(f"datasets.{data}: {name} cannot learn from it: {reason}")
        return self

    @model_validator(mode="after")
    def _methods_work_on_the_network(self) -> typing.Self:
        used = [("methods", method) for method in self.methods]
        used += [(f"compositions.{number}.method", made.method) for number, made in enumerate(self.compositions)]
        for key, method in used:
            if not works_on(method, self.network.name):
                raise ValueError(f"{key}: {refusal(method, self.network.name)}")
        return self

    @model_validator(mode="after")
    def _compositions_fit_their_tasks(self) -> typing.Self:
        names = [made.name for made in self.compositions]
        if len({*names}) < len(names):
            raise ValueError(f"compositions: one stands twice in {names}")
        for number, made in enumerate(self.compositions):
            for role, name in (("first", made.first), ("second", made.second)):
                if name not in self.tasks:
                    raise ValueError(
                        f"compositions.{number}.{role}: there is no task {name!r}{nearest(name, self.tasks)}"
                    )
            first, second = self.tasks[made.first], self.tasks[made.second]
            if not first.gives_picture:
                raise ValueError(
                    f"compositions.{number}.first: {made.first} gives no picture that {made.second} "
                    "could go on with or be blended with; make it the second task, or give it a loss on pictures"
                )
            if "blend" in made.ways and first.kind != second.kind:
                raise ValueError(
                    f"compositions.{number}.ways: a blend lies between two tasks of one kind; {made.first} is of "
                    f"kind {first.kind} and {made.second} of kind {second.kind}"
                )
            if "blend" in made.ways and first.form != second.form:
                raise ValueError(
                    f"compositions.{number}.ways: the network's output is {first.form} for {made.first} and "
                    f"{second.form} for {made.second}, and a blend needs the same for both; remove blend, or set "
                    "the tasks alike"
                )
        return self

    @model_validator(mode="after")
    def _devices_share_batches(self) -> typing.Self:
        devices = self.training.devices
        batches = {
            "training.batch_size": self.training.batch_size,
            "autoencoder.batch_size": self.autoencoder.batch_size,
        }
        for name in self.sequence:
            batches[f"tasks.{name}.training.batch_size"] = self.tasks[name].training.batch_size
        for key, size in batches.items():
            if size is not None and size % devices:
                raise ValueError(
                    f"training.devices: {devices} devices cannot share a batch of {size} pictures equally ({key}); "
                    f"set {key} to a multiple of {devices}, or training.devices to a divisor of {size}"
                )
        return self

    @model_validator(mode="after")
    def _leaves_networks_to_methods(self) -> typing.Self:
        for method, entry in METHODS.items():
            fixed = dict(entry.network or {})
            network = self.networks.get(fixed.pop("name", ""))
            for key in fixed:
                if network is not None and key in network.model_fields_set:
                    raise ValueError(f"networks.{network.name}.{key}: {method} sets it; leave it out")
        return self

    @property
    def base_task(self) -> str:
        """The task that makes the base network."""
        return self.sequence[0]

    @property
    def composed(self) -> dict[str, CompositionSettings]:
        """The compositions by name, without those of tasks that the sequence does not have."""
        return {made.name: made for made in self.compositions if {made.first, made.second} <= {*self.sequence}}

    def network_of(self, method: str) -> NetworkSettings:
        """Return the network that a method works on.

        Raises:
            SettingsError: the method does not work on the network of the settings.
        """
        entry = entry_of(method)
        if entry.network is None:
            if not works_on(method, self.network.name):
                raise SettingsError(refusal(method, self.network.name))
            return self.network
        name, fields = entry.network["name"], type(network_settings(entry.network)).model_fields
        shared = {key: value for key, value in self.network if key in fields}
        overrides = self.networks[name].model_dump(exclude_unset=True) if name in self.networks else {}
        return network_settings({**shared, **overrides, **entry.network})


FLOOR = "floor"
"""Name of the trivial baseline, the answer that needs no learning, among the methods in every table."""
