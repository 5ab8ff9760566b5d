"""Every setting: its name, type, range and default. Nothing below this module sees a dict.

`palimpsest.params` reads them from `params.yaml` and the command line. The methods of `Settings` cut out what a
single job may depend on: the pipeline reruns the job when that cut changes, so nothing else may reach its output.
"""

import typing
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from palimpsest.errors import known, nearest
from palimpsest.layout import Layout
from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.methods import AUTOENCODER, BASE, BASES, METHODS, entry_of
from palimpsest.methods.settings import AnyMethodSettings, MethodSettings
from palimpsest.schema import (
    ClassName,
    Name,
    Positive,
    PositiveShare,
    SettingsGroup,
    Share,
    UserPath,
)


class NetworkSettings(SettingsGroup):
    """The network of the sequence."""

    name: Literal["unet", "resblock"] = "unet"
    """`resblock` is the network of the methods that are called so, and of no others. Set by `Settings.network_of`,
    and refused in the user's settings, as `blocks` is."""
    blocks: Annotated[int, Field(ge=0)] = 0
    """Residual blocks at each place of such a network; each method has its own number."""
    width: Annotated[int, Field(ge=1)] = 64
    """Channels of the first stage; the study's network has 64."""
    resblock_width: Annotated[int, Field(ge=1)] | None = None
    """The same of the residual networks, where it differs: at equal width they take twice the time, or thrice."""
    padding: Literal["zeros", "reflect", "replicate"] = "reflect"


class BaseSettings(SettingsGroup):
    """How the base network comes to be."""

    encoder_weights: UserPath | None = None
    """A file of VGG weights (torchvision's names) to start the encoder from; the study starts from noise."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of the base training where they differ from `training.steps` and the task has none of its own."""
    standardised: bool = False
    """Weight standardisation (Qiao et al. 2019): every filter of the base has mean zero and variance 1 / fan-in."""


class CropSettings(SettingsGroup):
    """Sizes of pictures, in pixels."""

    size: Annotated[int, Field(ge=32, multiple_of=16)] = 80
    """Prepared pictures are squares of this side, and are evaluated whole."""
    crop: Annotated[int, Field(ge=32, multiple_of=16)] = 64
    """Side of the random crops that train."""
    smallest_scale: PositiveShare = 0.75
    """A training crop shows between this share and the whole of the prepared picture's side."""

    @model_validator(mode="after")
    def _crop_fits(self) -> typing.Self:
        if self.crop > self.size:
            raise ValueError(f"crop ({self.crop}) is larger than the prepared picture, size ({self.size})")
        return self


class PictureSettings(CropSettings):
    """Sizes of pictures, and how many of them or of their annotations may be faulty."""

    broken_share: Share = 0.01
    """Largest share of unreadable pictures, which are left out, and of annotations that cannot be painted. Both are
    listed; more stops the run."""
    max_megapixels: Positive = MAX_MEGAPIXELS
    """Larger pictures count as unreadable. One takes 4 bytes of memory a pixel, 16 with transparency."""

    @property
    def crops(self) -> CropSettings:
        """What a training needs to know."""
        return CropSettings(size=self.size, crop=self.crop, smallest_scale=self.smallest_scale)


class TrainingSettings(SettingsGroup):
    """How every training runs."""

    steps: Annotated[int, Field(ge=1)] = 300
    """Optimiser steps of each task, the same for every method."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Positive = 1e-3
    """Of weights (AdamW, linear warm-up, cosine to zero)."""
    task_pace: Positive = 1.0
    """How many times as fast BatchNorm and head learn: over weights that do not move they have a long way to go."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup: Share = 0.05
    """Share of the steps with a rising learning rate."""
    gradient_clip: Positive = 1.0
    """Largest norm of the gradient of one group of parameters."""
    batchnorm_frozen: Share = 0.1
    """Share of the steps, the last ones, in which BatchNorm computes with its running statistics, as when applied,
    and no longer moves them. At 0 a training now and then ends with statistics that are not those of its weights,
    and what it learned is lost when it is applied."""
    steps_per_epoch: Annotated[int, Field(ge=1)] = 50
    """Steps between two lines of the log, two points of the curves and two checkpoints."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """`auto`: bfloat16 where the device has instructions for it; elsewhere, where bfloat16 takes ten times as long,
    float32. A stored task says which it was."""
    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one training. Results are bit-identical only for the same number."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Annotated[int, Field(ge=1)] = 1


class TrainingOverrides(SettingsGroup):
    """What a single task may set otherwise, for every method alike."""

    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Positive | None = None
    smallest_scale: PositiveShare | None = None
    """Of `pictures`. A style, which is applied to photographs of any size, has to know smooth ones: small crops,
    enlarged, are what a large photograph looks like."""


class DatasetSettings(SettingsGroup):
    """Where pictures come from."""

    format: Literal["coco", "voc", "paired"]
    source: Literal["generated", "directory", "download"]
    root: UserPath | None = None
    """The folder of a `directory` source."""
    side: Annotated[int, Field(ge=32)] = 96
    """Shorter side of generated pictures, in pixels."""
    generate: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Generated pictures per split, by the data set's own split names."""
    archives: list[str] = []
    """The files of a `download` source; `palimpsest.data.download` knows their addresses and checksums."""
    input_side: Literal["left", "right"] = "left"
    """Where files hold both halves side by side: which half is the input."""
    layout: Literal["auto", "side-by-side"] = "auto"
    """Layout of pairs: `auto` finds inputs and targets by the names of folders (`palimpsest.data.pair_folders`)
    and checks that files outside such folders hold two pictures; `side-by-side` takes every file for such a one."""
    input_range: tuple[float, float] | None = None
    """Values that become black and white in inputs that are grey pictures of 16 bits and more, as [0, 10000].
    Values outside are clipped and counted in the log. Default: the full range."""
    target_range: tuple[float, float] | None = None
    """The same for targets, such as depth in millimetres."""

    @field_validator("input_range", "target_range")
    @classmethod
    def _rises(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"the first value has to be below the second, found {[*limits]}")
        return limits

    @model_validator(mode="after")
    def _has_root(self) -> typing.Self:
        if self.source == "directory" and self.root is None:
            raise ValueError("source 'directory' needs a root: give root, or data_root for all data sets")
        if self.source != "directory" and self.root is not None:
            raise ValueError(f"root is the folder of source 'directory'; source {self.source!r} has its own")
        if self.source == "download" and not self.archives:
            raise ValueError("source 'download' needs the names of archives to fetch")
        if self.source == "generated" and (self.format == "paired" or not self.generate):
            raise ValueError("source 'generated' needs format coco or voc and counts under generate")
        for name in ("layout", "input_range", "target_range"):
            if self.format != "paired" and name in self.model_fields_set:
                raise ValueError(f"{name} is a setting of format paired; leave it out for {self.format}")
        return self


class TaskSettings(SettingsGroup):
    """What every kind of task has."""

    data: Name
    """Name of a data set."""
    splits: dict[Literal["train", "val"], str] = {"train": "train", "val": "val"}
    """From which split of the data set the task's own splits are taken; one of the same name where none is said."""
    images: dict[Literal["train", "val"], Annotated[int, Field(ge=1)]] = {}
    """At most so many pictures per split; all where nothing is said."""
    training: TrainingOverrides = TrainingOverrides()

    @property
    def gives_picture(self) -> bool:
        """Whether the prediction is a picture, and not a score for each class."""
        return True

    @property
    def form(self) -> str:
        """Form of the network's output; two tasks can be blended where it is the same."""
        return "rgb" if self.gives_picture else "scores"

    @field_validator("splits")
    @classmethod
    def _has_both(cls, splits: dict[str, str]) -> dict[str, str]:
        return {"train": "train", "val": "val"} | splits

    @model_validator(mode="after")
    def _leaves_pictures_to_val(self) -> typing.Self:
        if self.splits["train"] == self.splits["val"] and "train" not in self.images:
            raise ValueError(
                f"splits: train and val are both {self.splits['val']!r}, and train takes all of its pictures; "
                "name another split, or set images.train"
            )
        return self


BACKGROUND = "background"
"""Name of the class of pixels that belong to no other class."""


class SegmentationSettings(TaskSettings):
    """Photograph → class per pixel."""

    kind: Literal["segmentation"]
    classes: Annotated[dict[ClassName, Annotated[list[str], Field(min_length=1)]], Field(max_length=254)]
    """Our classes, each a list of the data set's categories; a supercategory stands for all its members."""
    others: Literal["background", "ignored"] = "background"
    """What becomes of categories that no class names."""

    @field_validator("classes")
    @classmethod
    def _are_no_background(cls, classes: dict[str, list[str]]) -> dict[str, list[str]]:
        if BACKGROUND in classes:
            raise ValueError(f"{BACKGROUND!r} is class 0 already, for pixels of no class; leave it out")
        return classes

    loss: Literal["cross-entropy", "l1", "l2", "adversarial"] = "cross-entropy"
    """On class scores; or, as the study tried too, on the label map painted as a picture, which is read back by the
    nearest class colour."""
    l1_weight: Annotated[float, Field(ge=0)] = 100.0
    """How much L1 counts beside the adversarial loss; pix2pix has 100."""

    @property
    def gives_picture(self) -> bool:
        """With the losses of pictures."""
        return self.loss != "cross-entropy"


class ColorizationSettings(TaskSettings):
    """Grey photograph → colour photograph."""

    kind: Literal["colorization"]
    loss: Literal["l1", "l2"] = "l1"
    output: Literal["rgb", "chroma"] = "rgb"
    """`rgb`: the network gives the picture (the study's); `chroma`: it gives the colour, and the input keeps
    its luminance."""

    @property
    def form(self) -> str:
        """The setting `output`."""
        return self.output


class PairedSettings(TaskSettings):
    """Input picture → target picture, from two folders or from files that hold both."""

    kind: Literal["paired"]
    loss: Literal["l1", "l2"] = "l1"


class ReconstructionSettings(TaskSettings):
    """Photograph → the same: what the auto-encoder learns."""

    kind: Literal["reconstruction"]


class StyleSettings(TaskSettings):
    """Photograph → in the style of a painting."""

    kind: Literal["style"]
    picture: UserPath
    """The painting."""
    picture_size: Annotated[int, Field(ge=32)] = 128
    """The painting is scaled to this shorter side: it sets the size of the strokes."""
    content_weight: Annotated[float, Field(ge=0)] = 1.0
    style_weight: Annotated[float, Field(ge=0)] = 2.0
    tv_weight: Annotated[float, Field(ge=0)] = 1.0
    own_share: Share = 0.1
    """How much of the style is asked of each picture alone, the rest of a batch's pictures together; 1 is Gatys'
    loss and the study's, at which flat surfaces become checked."""
    grid_weight: Annotated[float, Field(ge=0)] = 100.0
    """Against the network painting its own grid. Not in the study, whose total loss has the first three parts."""
    perceptual: Literal["random", "squeezenet", "vgg16"] = "squeezenet"
    weights: UserPath | None = None
    """File of the perceptual network; where none is named it is taken from data_root/weights or downloaded."""


AnyTask = Annotated[
    SegmentationSettings | ColorizationSettings | PairedSettings | StyleSettings | ReconstructionSettings,
    Field(discriminator="kind"),
]


class CompositionSettings(SettingsGroup):
    """Two tasks of one method on one picture (`palimpsest.composition`)."""

    first: Name
    """The task whose input is seen."""
    second: Name
    """The task that answers."""
    method: str
    ways: Annotated[list[Literal["two-stage", "sequential", "alternate", "blend"]], Field(min_length=1)]
    """`two-stage`: one network after the other; `sequential`, `alternate`: one pass through the residual blocks of
    both; `blend`: one network between both, for masks."""
    steps: Annotated[int, Field(ge=2)] = 5
    """How many networks a blend has, from the first task's to the second's."""
    pictures: Annotated[int, Field(ge=1)] = 64
    """Training pictures of each task on which a blend's BatchNorm is calibrated, rounded up to whole batches."""

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.method}-{self.first}+{self.second}"

    @field_validator("method")
    @classmethod
    def _is_known(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(f"there is no method {method!r}{nearest(method, METHODS)}")
        return method

    @field_validator("ways")
    @classmethod
    def _are_possible(cls, ways: list[str], info: ValidationInfo) -> list[str]:
        method = info.data.get("method")
        possible = ways_of(method) if method else ways  # of an unknown one only that is told
        for way in ways:
            if way not in possible:
                raise ValueError(f"{method} has no {way!r}; it has {', '.join(possible)}")
        if len({*ways}) < len(ways):
            raise ValueError(f"one stands twice in {ways}")
        return ways

    @model_validator(mode="after")
    def _has_two_tasks(self) -> typing.Self:
        if self.first == self.second:
            raise ValueError(f"first and second have to be two tasks, found {self.first} twice")
        return self


def ways_of(method: str) -> list[str]:
    """The ways in which two tasks of a method can be composed."""
    entry = entry_of(method)
    return [
        "two-stage",
        *(["sequential", "alternate"] if entry.blocks else []),
        *(["blend"] if entry.can_blend else []),
    ]


def without_training(task: AnyTask) -> AnyTask:
    """A task without its overrides of the training, which a lesson has applied and nothing else needs."""
    return task.model_copy(update={"training": TrainingOverrides()})


class Preparation(SettingsGroup):
    """What the prepared arrays of one task depend on."""

    dataset: DatasetSettings
    size: int
    broken_share: float
    max_megapixels: float = MAX_MEGAPIXELS
    kind: str
    data: str
    splits: dict[Literal["train", "val"], str]
    images: dict[Literal["train", "val"], int]
    classes: dict[str, list[str]] | None
    others: Literal["background", "ignored"] | None


class Lesson(SettingsGroup):
    """What one training depends on: one method learns one task."""

    seed: int
    method: str
    method_settings: AnyMethodSettings | None
    task_name: str
    task: AnyTask
    network: NetworkSettings
    base: BaseSettings | None
    """None unless this training makes the base network."""
    pictures: CropSettings
    training: TrainingSettings
    """With the task's own overrides already applied."""

    def files(self) -> list[Path]:
        """The files that the settings name, beside the prepared arrays and the stored tasks it starts from."""
        named = [self.base.encoder_weights] if self.base else []
        if isinstance(self.task, StyleSettings):
            named += [self.task.picture, self.task.weights]
        return [path for path in named if path is not None]


class Examination(SettingsGroup):
    """What measuring one method on all its tasks depends on."""

    seed: int
    method: str
    method_settings: AnyMethodSettings | None
    sequence: list[str]
    tasks: dict[str, AnyTask]
    threads: int
    accelerator: Literal["auto", "cpu", "cuda"]
    samples: int


class Composition(Examination):
    """What composing two tasks of one method depends on; `sequence` are these two."""

    composition: CompositionSettings


class Variant(SettingsGroup):
    """Which variant of a sweep these settings are."""

    name: str
    own_base: bool
    """Whether what it changes makes another base network."""


class Settings(SettingsGroup):
    """All settings of one preset."""

    preset: Name
    data_root: UserPath | None = None
    """A folder in the native COCO / VOC layout, read in place of downloads."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    methods: Annotated[list[str], Field(min_length=1)]
    """Names of methods; `all` stands for every one."""
    sequence: Annotated[list[Name], Field(min_length=1)]
    """The tasks in the order in which they are learned; the first makes the base network."""
    samples: Annotated[int, Field(ge=1)] = 6
    """Pictures of each task that the report shows."""
    network: NetworkSettings = NetworkSettings()
    base: BaseSettings = BaseSettings()
    autoencoder: TrainingOverrides = TrainingOverrides()
    """How the training of the residual networks' auto-encoder differs from that of the base task."""
    pictures: PictureSettings = PictureSettings()
    training: TrainingSettings = TrainingSettings()
    method_settings: MethodSettings = MethodSettings()
    datasets: dict[Name, DatasetSettings]
    tasks: dict[Name, AnyTask]
    compositions: list[CompositionSettings] = Field(default=[], exclude=True)
    """What `snakemake compositions` makes. Nothing else depends on it, so that no digest holds it."""
    variant: Variant | None = None
    """Set by `palimpsest.sweeps.vary`, and by nobody else."""

    @property
    def layout(self) -> Layout:
        """Where the files lie."""
        if self.variant is None:
            return Layout(self.preset)
        return Layout(self.preset, self.variant.name, self.variant.own_base)

    @field_validator("methods", mode="before")
    @classmethod
    def _all_methods(cls, methods: object) -> object:
        return list(METHODS) if methods in ("all", ["all"]) else methods

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
            if (kind == "paired" and form != "paired") or (kind == "segmentation" and form == "paired"):
                raise ValueError(f"tasks.{name}.data: a task of kind {kind} cannot learn from {form} data")
        return self

    @model_validator(mode="after")
    def _kind_of_network_is_the_methods(self) -> typing.Self:
        residual = ", ".join(name for name, entry in METHODS.items() if entry.blocks is not None)
        for name in ("name", "blocks"):
            if name in self.network.model_fields_set:
                raise ValueError(
                    f"network.{name}: is set by the method, so leave it out; methods with residual blocks are "
                    f"{residual}: name them under methods"
                )
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
                    f"compositions.{number}.first: {made.first} gives classes, and no picture that {made.second} "
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
    def _leaves_weights_to_later_tasks(self) -> typing.Self:
        if "packnet" in self.methods and len(self.sequence) > 1 and self.method_settings.packnet.keep == 1:
            raise ValueError(
                "method_settings.packnet.keep: 1 leaves no weight to the tasks after the first; set it below 1"
            )
        return self

    @property
    def base_task(self) -> str:
        """The task that makes the base network."""
        return self.sequence[0]

    @property
    def composed(self) -> dict[str, CompositionSettings]:
        """The compositions by name, without those of tasks that the sequence does not have."""
        return {made.name: made for made in self.compositions if {made.first, made.second} <= {*self.sequence}}

    def preparation(self, task: str) -> Preparation:
        """The cut that decides the prepared arrays of a task."""
        chosen = self.tasks[known(task, self.tasks, "task")]
        return Preparation(
            dataset=self.datasets[chosen.data],
            size=self.pictures.size,
            broken_share=self.pictures.broken_share,
            max_megapixels=self.pictures.max_megapixels,
            kind=chosen.kind,
            data=chosen.data,
            splits=chosen.splits,
            images=chosen.images,
            classes=chosen.classes if isinstance(chosen, SegmentationSettings) else None,
            others=chosen.others if isinstance(chosen, SegmentationSettings) else None,
        )

    def lesson(self, seed: int, method: str, task: str) -> Lesson:
        """The cut that decides one training. The base network is the lesson of the method ``base``."""
        chosen = self.tasks[known(task, self.sequence, "task")]
        known(method, [*BASES, *METHODS], "method")
        overrides = chosen.training.model_dump(exclude_none=True)
        if method == AUTOENCODER:
            chosen = ReconstructionSettings(kind="reconstruction", data=chosen.data)
            overrides |= self.autoencoder.model_dump(exclude_none=True)
        elif (method == BASE or (task == self.base_task and entry_of(method).together)) and self.base.steps:
            overrides.setdefault("steps", self.base.steps)
        crops = {key: overrides.pop(key) for key in ("smallest_scale",) if key in overrides}
        return Lesson(
            seed=seed,
            method=method,
            method_settings=self.method_settings.of(method),
            task_name=task,
            task=without_training(chosen),
            network=self.network_of(method),
            base=self.base if method == BASE else None,
            pictures=self.pictures.crops.model_copy(update=crops),
            training=self.training.model_copy(update=overrides),
        )

    def network_of(self, method: str) -> NetworkSettings:
        """The network that a method works on."""
        blocks, network = entry_of(method).blocks, self.network.model_copy(update={"resblock_width": None})
        if blocks is None:
            return network
        width = self.network.resblock_width or network.width
        return network.model_copy(update={"name": "resblock", "blocks": blocks, "width": width})

    def examination(self, seed: int, method: str) -> Examination:
        """The cut that decides the measuring of one method."""
        known(method, [FLOOR, *METHODS], "method")
        return Examination(
            seed=seed,
            method=method,
            method_settings=self.method_settings.of(method),
            sequence=self.sequence,
            tasks={name: without_training(self.tasks[name]) for name in self.sequence},
            threads=self.training.threads,
            accelerator=self.training.accelerator,
            samples=self.samples,
        )

    def composition(self, name: str) -> Composition:
        """The cut that decides one composition, which is made of the first seed's networks."""
        made = self.composed[known(name, self.composed, "composition")]
        pair = [made.first, made.second]
        return Composition(
            seed=self.seeds[0],
            method=made.method,
            method_settings=self.method_settings.of(made.method),
            sequence=pair,
            tasks={task: without_training(self.tasks[task]) for task in pair},
            threads=self.training.threads,
            accelerator=self.training.accelerator,
            samples=self.samples,
            composition=made,
        )


FLOOR = "floor"
"""The answer that needs no learning stands among the methods in every table."""
