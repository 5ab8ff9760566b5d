"""Variants of a preset's settings: those of sweeps, for the choice of settings, and those of ablations.

    sweeps:
      mini:                # the preset
        piggyback:         # the method
          momentum-0.9: { method_settings: { piggyback: { score_beta1: 0.9 } } }
    ablations:
      mini:
        steps-100: { methods: [scratch, piggyback], changes: { training: { steps: 100 } } }

A variant overrides settings of its preset. `snakemake sweep` trains the variants of one method and measures them on
the split `dev`, as it does the method with its current settings (the variant `CURRENT`). `snakemake ablations`
trains several methods under the same changes, with all seeds, and measures them on `val`. The name of a variant is
the name of its folder and must be unique in the preset. A shorter sequence saves time if the first tasks suffice.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from palimpsest.errors import SettingsError, check_name, unknown_name
from palimpsest.groups import MeasuredSplit
from palimpsest.jobs import preparation_job, training_job
from palimpsest.layout import CURRENT, Shared
from palimpsest.methods import BASES, METHODS
from palimpsest.params import check_mapping, dotted, merge_settings, resolve
from palimpsest.settings import REFERENCE, Settings, Variant

Variants = dict[str, Mapping[str, Any]]
"""Variants of one method: the settings that each variant overrides, by its name."""


class Ablation(NamedTuple):
    """Methods that are trained under the same changes of the settings."""

    methods: tuple[str, ...]
    changes: Mapping[str, Any]
    """Settings that the ablation overrides."""


SETTINGS_SUFFIX = "-settings"
"""End of the name, without `.csv`, of the file with the settings of a sweep or an ablation."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
"""Pattern of the name of a variant."""
CHANGEABLE = (
    "network",
    "networks",
    "base",
    "autoencoder",
    "training",
    "learning_rates",
    "encoder_lr_multipliers",
    "method_settings",
)
"""Groups that a variant may change, beside the length of the sequence and settings of tasks. A change of other
settings would change the data, and the figures could not be compared."""
LOSS_SETTINGS = ("loss", "class_balance", "colour_balance")
"""Settings of the loss of a task that a variant of a sweep may change."""
FIXED = {"base": ("encoder_weights",), "training": ("threads", "accelerator", "devices")}
"""Keys within `CHANGEABLE` that a variant may not change: files and hardware."""


def sweeps_of(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Variants]:
    """Return the variants of the chosen preset's sweeps, by method.

    ``content`` is that of `params.yaml`, ``overrides`` those of the command line.

    Raises:
        SettingsError: a preset or method is unknown, a name is invalid or duplicate, or a method cannot be swept.
    """
    preset, sweeps = _of_preset(content, overrides, "sweeps")
    for method, sweep in sweeps.items():
        key = f"sweeps.{preset}"
        check_method(method, key)
        for name, changes in check_mapping(sweep, f"{key}.{method}").items():
            check_variant_name(name, f"{key}.{method}")
            check_mapping(changes, f"{key}.{method}.{name}")
    return {method: dict(sweep) for method, sweep in sweeps.items()}


def ablations_of(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Ablation]:
    """Return the ablations of the chosen preset by name; for the parameters see `sweeps_of`.

    Raises:
        SettingsError: a preset or method is unknown, a name is invalid, or an entry lacks methods or changes.
    """
    preset, entries = _of_preset(content, overrides, "ablations")
    ablations = {}
    for name, entry in entries.items():
        check_variant_name(name, f"ablations.{preset}")
        key = f"ablations.{preset}.{name}"
        for field in check_mapping(entry, key):
            if field not in Ablation._fields:
                raise SettingsError(f"{key}: {unknown_name(field, Ablation._fields, 'key')}")
        methods = entry.get("methods")
        if not isinstance(methods, list) or not methods:
            raise SettingsError(f"{key}.methods: expected a list of methods; name at least one")
        for method in methods:
            check_method(method, f"{key}.methods")
        ablations[name] = Ablation(tuple(methods), check_mapping(entry.get("changes") or {}, f"{key}.changes"))
    return ablations


def _of_preset(
    content: Mapping[str, Any], overrides: Mapping[str, Any], group: str
) -> tuple[str, Mapping[str, Any]]:
    """Return the name of the chosen preset and its part of the group ``sweeps`` or ``ablations``.

    Raises:
        SettingsError: the group names an unknown preset.
    """
    preset = resolve(content, overrides).preset
    presets = check_mapping(merge_settings(content, overrides).get(group) or {}, group)
    for name in presets:
        if name not in content["presets"]:
            raise SettingsError(f"{group}.{name}: {unknown_name(name, content['presets'], 'preset')}")
    return preset, check_mapping(presets.get(preset) or {}, f"{group}.{preset}")


def check_method(method: object, key: str) -> None:
    """Check that a variant can train a method; ``key`` is the path of the group that names it.

    Raises:
        SettingsError: the method is unknown or learns all tasks in one training.
    """
    if method not in METHODS:
        raise SettingsError(f"{key}: {unknown_name(method, METHODS, 'method')}")
    if METHODS[str(method)].together:
        raise SettingsError(
            f"{key}: {method} learns all tasks in one training, and variants train them one by one; name another "
            "method"
        )


def check_variant_name(name: object, key: str) -> None:
    """Check the name of a variant; ``key`` is the path of the group that contains it.

    Raises:
        SettingsError: the name is invalid or reserved.
    """
    if not NAME.fullmatch(str(name)):
        raise SettingsError(f"{key}: invalid name {name!r}; use letters, digits, '-' and '.'")
    if name == CURRENT:
        raise SettingsError(f"{key}: the name {name!r} means the current settings; rename the variant")
    if str(name).endswith(SETTINGS_SUFFIX):
        raise SettingsError(f"{key}: the name {name!r} ends as the name of a file of settings; rename the variant")


def variants_of(
    content: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, tuple[str, MeasuredSplit, Ablation]]:
    """Return all variants of the chosen preset by name: group, measured split, and methods with changes.

    A variant of a sweep has one method. For the parameters see `sweeps_of`.

    Raises:
        SettingsError: a variant is invalid, or two have the same name.
    """
    entries: list[tuple[str, str, MeasuredSplit, Ablation]] = [
        (name, "sweeps", "dev", Ablation((method,), changes))
        for method, sweep in sweeps_of(content, overrides).items()
        for name, changes in sweep.items()
    ]
    entries += [(name, "ablations", "val", ablation) for name, ablation in ablations_of(content, overrides).items()]
    variants: dict[str, tuple[str, MeasuredSplit, Ablation]] = {}
    for name, group, split, variant in entries:
        if name in variants:
            raise SettingsError(f"{group}: duplicate name {name!r} of a variant; rename one of them")
        variants[name] = (group, split, variant)
    return variants


def vary(content: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> Settings:
    """Return the settings of the variant ``name``, with `Settings.variant` set.

    ``content`` is that of `params.yaml`, ``overrides`` those of the command line. ``name`` may be `CURRENT`.

    Raises:
        SettingsError: the variant is unknown, invalid, or changes a key that cannot be compared.
    """
    main = resolve(content, overrides)
    if name == CURRENT:
        check_dev(main, "sweeps")
        return main.model_copy(update={"variant": Variant(name=name, shares="all", split="dev")})
    variants = variants_of(content, overrides)
    group, split, (methods, changes) = variants[check_name(name, variants, "variant")]
    if split == "dev":
        check_dev(main, f"{group}: {name}")
    try:
        varied = resolve(content, merge_settings(overrides, changes))
    except SettingsError as error:
        raise SettingsError(f"{group}: {name}: {error}") from error
    for key in changed_keys(main, varied, of_sweep=group == "sweeps"):
        if key not in CHANGEABLE:
            of_tasks = (
                f"{', '.join(LOSS_SETTINGS)} and training"
                if group == "sweeps"
                else "settings that leave the data unchanged"
            )
            raise SettingsError(
                f"{group}: {name}: a variant cannot change {key}; change {', '.join(CHANGEABLE)}, {of_tasks} of "
                "tasks, or the length of the sequence only"
            )
    variant = Variant(name=name, shares=shared_by(main, varied, methods), split=split)
    return varied.model_copy(update={"variant": variant})


def check_dev(settings: Settings, key: str) -> None:
    """Check that the preset has the split `dev`; ``key`` is the path of what needs it.

    Raises:
        SettingsError: it has none.
    """
    if not settings.pictures.dev_share:
        raise SettingsError(
            f"{key}: sweeps measure on the split dev, but pictures.dev_share is 0; set it to a value such as 0.1"
        )


def changed_settings(
    content: Mapping[str, Any], overrides: Mapping[str, Any], name: str
) -> list[tuple[str, Any, Any]]:
    """Return (setting, value under the ablation ``name``, value in the preset) of each setting that it changes.

    For the other parameters see `sweeps_of`.
    """
    preset = dotted(resolve(content, overrides).model_dump(mode="json", by_alias=True))
    changes = dotted(ablations_of(content, overrides)[name].changes)
    return [(setting, value, preset.get(setting, "")) for setting, value in changes.items()]


def shared_by(main: Settings, varied: Settings, methods: Iterable[str]) -> Shared:
    """Return the stored tasks of the preset that a variant uses: those whose trainings have equal settings."""
    seed, methods = main.seeds[0], list(methods)
    added = [(seed, method, task) for method in methods for task in varied.sequence]
    bases = [(seed, base, main.base_task) for base in map(shared_base, methods)]
    if any(training_job(varied, *training) != training_job(main, *training) for training in bases):
        return "none"
    changed = any(training_job(varied, *training) != training_job(main, *training) for training in added)
    return "base" if changed else "all"


def shared_base(method: str) -> str:
    """Return the key in `BASES` of the training that a method starts from.

    If the method starts from the network of another method, that method's training of `BASES` is returned.
    """
    while method not in BASES:
        method = METHODS[method].base_training
    return method


def takes_reference(main: Settings, varied: Settings, methods: Iterable[str]) -> bool:
    """Return whether an ablation of ``methods`` is compared with the `scratch` of the preset.

    That is so if the preset trains `scratch`, the ablation does not, and its changes do not affect `scratch`.
    """
    if REFERENCE in methods or REFERENCE not in main.methods:
        return False
    return shared_by(main, varied, [REFERENCE]) == "all"


def changed_keys(main: Settings, varied: Settings, *, of_sweep: bool) -> list[str]:
    """Return the keys whose values differ between a preset and its variant.

    The keys are those of the top level, `tasks.<name>`, and those in `FIXED`, as `base.encoder_weights`. Changes
    that a variant may always make are left out: a shorter sequence, and of tasks `LOSS_SETTINGS` and training (in a
    sweep) or every setting that leaves the prepared arrays unchanged (in an ablation, whose tables stand apart).
    """
    keys = [key for key in Settings.model_fields if getattr(main, key) != getattr(varied, key)]
    if varied.sequence == main.sequence[: len(varied.sequence)]:
        keys = [key for key in keys if key != "sequence"]
    if "tasks" in keys:
        keys.remove("tasks")
        compared = without_training if of_sweep else preparation_job
        keys += [f"tasks.{name}" for name in main.tasks if compared(main, name) != compared(varied, name)]
    for group, names in FIXED.items():
        before, after = getattr(main, group), getattr(varied, group)
        keys += [f"{group}.{key}" for key in names if getattr(before, key) != getattr(after, key)]
    return keys


def without_training(settings: Settings, task: str) -> dict[str, Any]:
    """Return the settings of a task as a dictionary, without `LOSS_SETTINGS` and its overrides of the training."""
    return settings.tasks[task].model_dump(exclude={*LOSS_SETTINGS, "training"})


def sweep_tables(results: Path) -> list[Path]:
    """Return the tables of sweeps in a preset's folder of results, one per method; see `Layout.sweep`."""
    return _tables(results / "sweep")


def ablation_tables(results: Path) -> list[Path]:
    """Return the tables of ablations in a preset's folder of results, one per ablation; see `Layout.ablation`."""
    return _tables(results / "ablation")


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.csv") if not path.stem.endswith(SETTINGS_SUFFIX))
