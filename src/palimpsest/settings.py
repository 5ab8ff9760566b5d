"""All settings of one preset, checked. Other modules use these classes and no plain dicts.

`palimpsest.groups` has the groups that all parts share. The settings of each method, network, kind of task and data
format are in a module `…_settings` beside the code. `palimpsest.params` reads `params.yaml` and the command line;
`palimpsest.jobs` selects the settings that a single job depends on.
"""

import typing
from typing import Annotated

from pydantic import Field, model_validator

from palimpsest.composition_settings import CompositionSettings
from palimpsest.data.formats import FORMATS, AnyDataset, formats_with
from palimpsest.errors import SettingsError, unknown_name
from palimpsest.groups import (
    BaseSettings,
    MeasuredSplit,
    PictureSettings,
    TrackingSettings,
    TrainingOverrides,
    TrainingSettings,
)
from palimpsest.layout import Layout, Shared
from palimpsest.methods import METHODS, AnyMethods, default_method_settings, entry_of, refusal, works_on
from palimpsest.networks import DEFAULT, AnyNetwork, AnyNetworks, default_network, network_settings
from palimpsest.networks.settings import NetworkSettings
from palimpsest.schema import Name, Positive, SettingsGroup, UserPath
from palimpsest.tasks import KINDS, AnyTask

BUNDLED = "piggyback"
"""Method whose tasks go into the bundle of a study by default."""


class Variant(SettingsGroup):
    """Identity of these settings as a variant."""

    name: str
    """Name of the variant and of its folders."""
    shares: Shared
    """Stored tasks of the preset that the variant uses."""
    split: MeasuredSplit
    """Split on which the variant is measured."""


class Settings(SettingsGroup):
    """All settings of one preset."""

    preset: Name
    """Name of the preset and of its folders."""
    data_root: UserPath | None = None
    """Folder in the native COCO / VOC layout, read instead of a download; None for a download."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    """Seeds of the random numbers; each seed trains every method once more."""
    methods: Annotated[list[str], Field(min_length=1)]
    """Names of the methods to compare; `all` means every method that works on the network."""
    sequence: Annotated[list[Name], Field(min_length=1)]
    """Names of the tasks in the order of training; the first trains the base network."""
    samples: Annotated[int, Field(ge=1)] = 6
    """Number of pictures of each task in the report."""
    network: AnyNetwork = Field(default_factory=default_network)
    """Network of every method without a network of its own."""
    networks: AnyNetworks = {}
    """Networks that belong to methods, by name; settings that are not given equal those of `network`."""
    base: BaseSettings = BaseSettings()
    """Settings of the base network's training."""
    autoencoder: TrainingOverrides = TrainingOverrides()
    """Overrides for the training of the residual networks' auto-encoder."""
    pictures: PictureSettings = PictureSettings()
    """Sizes of pictures, and limits on faulty ones."""
    training: TrainingSettings = TrainingSettings()
    """Settings of every training."""
    learning_rates: dict[str, Positive] = {}
    """Peak learning rates of single methods in place of `training.learning_rate`, by the method's name. An override
    of a task has priority."""
    encoder_lr_multipliers: dict[str, Positive] = {}
    """Factors of the encoder's learning rates for single methods in place of `training.encoder_lr_multiplier`, by
    the method's name: scores of masks need larger steps than weights. An override of a task has priority."""
    method_settings: AnyMethods = Field(default_factory=default_method_settings)
    """Settings of single methods, by the method's name."""
    datasets: dict[Name, AnyDataset]
    """Data sets by name."""
    tasks: dict[Name, AnyTask]
    """Tasks by name; only those in `sequence` are trained."""
    compositions: list[CompositionSettings] = Field(default=[], exclude=True)
    """Pairs of tasks that `snakemake compositions` applies to one picture. No other output depends on them; digests
    exclude them."""
    tracking: TrackingSettings = Field(default=TrackingSettings(), exclude=True)
    """Records of runs. No output depends on them; digests exclude them."""
    variant: Variant | None = None
    """Variant of a sweep or an ablation that these settings describe; None for the preset itself. Users leave it
    out: `palimpsest.variants.vary` sets it."""

    @property
    def layout(self) -> Layout:
        """Paths of the preset or variant."""
        if self.variant is None:
            return Layout(self.preset)
        return Layout(self.preset, self.variant.name, self.variant.shares)

    @property
    def bundled_method(self) -> str:
        """Method of the bundle that the pipeline makes: one-bit masks, or the first method without them."""
        return BUNDLED if BUNDLED in self.methods else self.methods[0]

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
            ("learning_rates", self.learning_rates, METHODS),
            ("encoder_lr_multipliers", self.encoder_lr_multipliers, METHODS),
            ("sequence", self.sequence, self.tasks),
        ):
            for name in names:
                if name not in choices:
                    raise ValueError(f"{key}: {unknown_name(name, choices, 'name')}")
        for key, values in (("methods", self.methods), ("sequence", self.sequence), ("seeds", self.seeds)):
            for index, value in enumerate(values):
                if value in values[:index]:
                    raise ValueError(f"{key}: duplicate entry {value!r}; remove one")
        return self

    @model_validator(mode="after")
    def _additional_pictures_are_new(self) -> typing.Self:
        for name in self.sequence:
            task, key = self.tasks[name], f"tasks.{name}.additional_pictures"
            if task.additional_pictures and KINDS[task.kind].target is not None:
                raise ValueError(
                    f"{key}: a task of kind {task.kind} has targets, and additional pictures have none; remove "
                    "additional_pictures"
                )
            used = {(task.data, split): f"splits.{role}" for role, split in task.splits.items()}
            for data, splits in task.additional_pictures.items():
                if data not in self.datasets:
                    raise ValueError(f"{key}: {unknown_name(data, self.datasets, 'data set')}")
                for split in splits:
                    if (data, split) in used:
                        raise ValueError(
                            f"{key}.{data}: {split!r} is also in {used[data, split]}; remove it from one of them"
                        )
                    used[data, split] = f"additional_pictures.{data}"
        return self

    @model_validator(mode="after")
    def _data_sets_serve_their_tasks(self) -> typing.Self:
        for name in self.sequence:
            data, kind = self.tasks[name].data, self.tasks[name].kind
            target = KINDS[kind].target
            if data not in self.datasets:
                raise ValueError(f"tasks.{name}.data: {unknown_name(data, self.datasets, 'data set')}")
            format_name = self.datasets[data].format
            if not FORMATS[format_name].serves(target):
                raise ValueError(
                    f"tasks.{name}.data: a task of kind {kind} cannot learn from {format_name} data; choose a data "
                    f"set of format {' or '.join(formats_with(target))}"
                )
            reason = self.datasets[data].unfit_for(target)
            if reason is not None:
                raise ValueError(f"datasets.{data}: {name} cannot learn from it: {reason}")
        return self

    @model_validator(mode="after")
    def _encoder_has_a_learning_rate(self) -> typing.Self:
        name = "encoder_lr_multiplier"
        multipliers = {f"training.{name}": self.training.encoder_lr_multiplier}
        multipliers |= {f"{name}s.{method}": value for method, value in self.encoder_lr_multipliers.items()}
        for task, settings in self.tasks.items():
            multipliers[f"tasks.{task}.training.{name}"] = settings.training.encoder_lr_multiplier or 1
        for key, multiplier in multipliers.items():
            if multiplier != 1 and not self.network.has_backbone:
                raise ValueError(
                    f"{key}: the network has no encoder of timm, to which it applies; set it to 1, or set "
                    "network.encoder"
                )
        return self

    @model_validator(mode="after")
    def _methods_work_on_the_network(self) -> typing.Self:
        used = [("methods", method) for method in self.methods]
        used += [
            (f"compositions.{number}.method", composition.method)
            for number, composition in enumerate(self.compositions)
        ]
        for key, method in used:
            if not works_on(method, self.network.name):
                raise ValueError(f"{key}: {refusal(method, self.network.name)}")
        return self

    @model_validator(mode="after")
    def _compositions_fit_their_tasks(self) -> typing.Self:
        names = [composition.name for composition in self.compositions]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"compositions: duplicate entry {name!r}; remove one")
        for number, composition in enumerate(self.compositions):
            for role, name in (("first", composition.first), ("second", composition.second)):
                if name not in self.tasks:
                    raise ValueError(f"compositions.{number}.{role}: {unknown_name(name, self.tasks, 'task')}")
            first, second = self.tasks[composition.first], self.tasks[composition.second]
            if not first.gives_picture:
                raise ValueError(
                    f"compositions.{number}.first: {composition.first} predicts no picture, and "
                    f"{composition.second} needs one; make it the second task, or give it a loss on pictures"
                )
            blend = f"compositions.{number}.ways: cannot blend {composition.first} with {composition.second}"
            if "blend" in composition.ways and first.kind != second.kind:
                raise ValueError(
                    f"{blend}: their kinds are {first.kind} and {second.kind}; remove blend, or name two tasks of "
                    "one kind"
                )
            if "blend" in composition.ways and first.output_space != second.output_space:
                raise ValueError(
                    f"{blend}: their outputs are {first.output_space} and {second.output_space}; remove blend, or "
                    "give both tasks the same output"
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
        """Task that trains the base network."""
        return self.sequence[0]

    @property
    def composed(self) -> dict[str, CompositionSettings]:
        """Compositions by name, without those of tasks outside the sequence."""
        return {
            composition.name: composition
            for composition in self.compositions
            if {composition.first, composition.second} <= {*self.sequence}
        }

    @property
    def split(self) -> MeasuredSplit:
        """Split that evaluations measure."""
        return "val" if self.variant is None else self.variant.split

    def measured_split(self, method: str) -> MeasuredSplit:
        """Return the split on which a method's trainings are measured; for those that a variant shares, ``val``."""
        return "val" if self.layout.scope_of(method) == self.preset else self.split

    def network_of(self, method: str) -> NetworkSettings:
        """Return the settings of the network that a method uses.

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
"""Name of the trivial baseline, a prediction without learning, in the column `method` of every table."""
REFERENCE = "scratch"
"""Method to which quality and size of all methods are relative: a separate network per task."""
