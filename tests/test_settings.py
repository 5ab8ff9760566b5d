import re
from pathlib import Path
from typing import Any

import pytest

from palimpsest.errors import SettingsError
from palimpsest.jobs import composition_job, evaluation_job, preparation_job, training_job
from palimpsest.methods import AUTOENCODER, BASE, METHODS
from palimpsest.networks import network_settings
from palimpsest.networks.resblock_settings import ResblockSettings
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.params import resolve
from palimpsest.settings import FLOOR, Settings
from tests.conftest import nested

Content = dict[str, Any]

SEPARATE = [method for method, entry in METHODS.items() if not entry.together]
"""Methods with a separate training for each task."""


def all_cuts(settings: Settings) -> dict[str, str]:
    """Return the digest of all settings of a job by its name."""
    jobs = {
        f"train {method} {task}": training_job(settings, 0, method, task).digest()
        for method in (BASE, *SEPARATE)
        for task in settings.sequence
        if (method == BASE) == (task == settings.base_task)
    }
    preparation_jobs = {f"prepare {task}": preparation_job(settings, task).digest() for task in settings.sequence}
    evaluation_jobs = {f"evaluate {method}": evaluation_job(settings, 0, method).digest() for method in METHODS}
    return jobs | preparation_jobs | evaluation_jobs


def changed_by(content: Content, path: str, value: object) -> set[str]:
    """Return the jobs that a changed setting reruns."""
    before, after = all_cuts(resolve(content)), all_cuts(resolve(content, nested(path, value)))
    assert before.keys() == after.keys()
    return {job for job in before if before[job] != after[job]}


def test_settings_are_immutable(content: Content) -> None:
    settings = resolve(content)
    with pytest.raises(ValueError, match="frozen"):
        settings.training.steps = 1


def test_the_weight_of_a_style_changes_its_trainings_and_the_evaluations_alone(params_yaml: Content) -> None:
    changed = changed_by(params_yaml, "tasks/style-gogh/style_weight", 3.5)
    assert changed == {f"train {m} style-gogh" for m in SEPARATE} | {f"evaluate {m}" for m in METHODS}


def test_the_rate_of_the_scores_changes_jobs_of_piggyback_alone(params_yaml: Content) -> None:
    changed = changed_by(params_yaml, "method_settings/piggyback/score_learning_rate", 1e-4)
    later_tasks = ("voc-seg", "colorize", "style-gogh", "style-munch")
    assert changed == {"evaluate piggyback"} | {f"train piggyback {task}" for task in later_tasks}


def test_the_steps_of_the_base_change_its_training_and_those_with_its_budget_alone(params_yaml: Content) -> None:
    with_its_budget = {f"train scratch-long {t}" for t in ("voc-seg", "colorize", "style-gogh", "style-munch")}
    assert changed_by(params_yaml, "base/steps", 7) == {"train base coco-seg", *with_its_budget}
    tasks = resolve(params_yaml).tasks
    later_trainings = {
        f"train {m} {t}" for m in SEPARATE for t in tasks if t != "coco-seg" and tasks[t].training.steps is None
    }
    assert changed_by(params_yaml, "training/steps", 7) == later_trainings
    del params_yaml["presets"]["mini"]["base"]["steps"]
    assert changed_by(params_yaml, "training/steps", 7) == later_trainings | with_its_budget | {
        "train base coco-seg"
    }


def test_the_steps_of_one_task_change_its_trainings_and_no_preparation(params_yaml: Content) -> None:
    changed = changed_by(params_yaml, "tasks/colorize/training/steps", 7)
    assert {f"train {m} colorize" for m in SEPARATE} <= changed
    assert not any(job.startswith("prepare") or "voc-seg" in job or "coco-seg" in job for job in changed)


def test_the_base_has_the_steps_of_its_task_if_set(params_yaml: Content) -> None:
    assert (
        training_job(resolve(params_yaml), 0, BASE, "coco-seg").training.steps
        == params_yaml["presets"]["mini"]["base"]["steps"]
    )
    assert (
        training_job(
            resolve(params_yaml, nested("tasks/coco-seg/training/steps", 7)), 0, BASE, "coco-seg"
        ).training.steps
        == 7
    )


def test_an_override_that_changes_nothing_reruns_nothing(params_yaml: Content) -> None:
    usual = training_job(resolve(params_yaml), 0, "scratch", "colorize").training.steps
    assert changed_by(params_yaml, "tasks/colorize/training/steps", usual) == set()


def test_settings_of_trainings_do_not_rerun_the_floor(params_yaml: Content) -> None:
    before = evaluation_job(resolve(params_yaml), 0, FLOOR).digest()
    for path, value in (("network/width", 4), ("tasks/colorize/training/steps", 7)):
        assert evaluation_job(resolve(params_yaml, nested(path, value)), 0, FLOOR).digest() == before


def test_a_task_may_set_smaller_crops(params_yaml: Content) -> None:
    changed = changed_by(params_yaml, "tasks/colorize/training/smallest_scale", 0.5)
    assert {f"train {m} colorize" for m in SEPARATE} <= changed
    assert not any(job.startswith("prepare") or "voc-seg" in job for job in changed)
    settings = resolve(params_yaml, nested("tasks/colorize/training/smallest_scale", 0.5))
    assert training_job(settings, 0, "scratch", "colorize").tasks[0].pictures.smallest_scale == 0.5
    assert training_job(settings, 0, "scratch", "voc-seg").tasks[0].pictures == settings.pictures.crops
    together = {task.name: task.pictures for task in training_job(settings, 0, "joint", "coco-seg").tasks}
    assert together["colorize"].smallest_scale == 0.5 and together["voc-seg"] == settings.pictures.crops


def test_a_task_may_set_learning_rates_and_frozen_batchnorm(params_yaml: Content) -> None:
    overrides = {"lr_multiplier": 2.5, "batchnorm_frozen": 0.5}
    settings = resolve(params_yaml, {"tasks": {"colorize": {"training": overrides}}})
    for method in ("scratch", "piggyback"):
        changed = training_job(settings, 0, method, "colorize").training
        usual = training_job(settings, 0, method, "voc-seg").training
        assert (changed.lr_multiplier, changed.batchnorm_frozen) == (2.5, 0.5)
        assert (usual.lr_multiplier, usual.batchnorm_frozen) == (1, 0.1)


def test_a_method_that_learns_all_tasks_together_has_one_training(params_yaml: Content) -> None:
    settings = resolve(params_yaml)
    jobs = {training_job(settings, 0, "joint", task).digest() for task in settings.sequence}
    assert len(jobs) == 1
    joint = training_job(settings, 0, "joint", "colorize")
    assert joint.task_names == settings.sequence
    steps = [training_job(settings, 0, "scratch", task).training.steps for task in settings.sequence[1:]]
    assert [task.steps for task in joint.tasks] == [settings.base.steps, *steps]


def test_the_samples_of_the_report_change_no_training(params_yaml: Content) -> None:
    assert changed_by(params_yaml, "samples", 2) == {f"evaluate {method}" for method in METHODS}


def test_the_limit_of_broken_pictures_changes_preparations_and_no_training(params_yaml: Content) -> None:
    changed = changed_by(params_yaml, "pictures/broken_share", 0.5)
    assert changed == {f"prepare {task}" for task in resolve(params_yaml).sequence}


def test_the_classes_of_a_task_change_its_preparation_its_trainings_and_the_evaluations(
    params_yaml: Content,
) -> None:
    changed = changed_by(params_yaml, "tasks/voc-seg/classes", {"boat": ["boat"], "sheep": ["sheep", "boat"]})
    assert changed == (
        {"prepare voc-seg"} | {f"train {m} voc-seg" for m in SEPARATE} | {f"evaluate {m}" for m in METHODS}
    )


def test_a_task_at_the_end_changes_no_existing_training_and_preparation(params_yaml: Content) -> None:
    before = all_cuts(resolve(params_yaml))
    mine = {"kind": "colorization", "data": "voc", "output": "chroma"}
    sequence = [*params_yaml["defaults"]["sequence"], "mine"]
    after = all_cuts(resolve(params_yaml, {"tasks": {"mine": mine}, "sequence": sequence}))
    assert {job for job in before if before[job] != after[job]} == {f"evaluate {m}" for m in METHODS}
    assert {job for job in after if job not in before} == {"prepare mine"} | {f"train {m} mine" for m in SEPARATE}


def test_a_training_lists_the_files_of_its_settings(params_yaml: Content) -> None:
    settings = resolve(params_yaml, {"preset": "real", "base": {"encoder_weights": "vgg.pth"}})
    encoder = Path("data/real/raw/weights/tf_efficientnet_lite2.safetensors")
    assert training_job(settings, 0, BASE, "coco-seg").files() == [Path("vgg.pth"), encoder]
    assert training_job(settings, 0, "scratch", "voc-seg").files() == [encoder]
    assert training_job(settings, 0, "piggyback", "voc-seg").files() == []
    assert training_job(settings, 0, "scratch", "style-gogh").files() == [
        encoder,
        Path("styles/starry-night.jpg"),
        Path("data/real/raw/weights/squeezenet.pth"),
    ]


def test_an_unknown_name_on_the_command_line_of_a_stage_is_refused(content: Content) -> None:
    settings = resolve(content)
    with pytest.raises(SettingsError, match="'halvse'; did you mean 'halves'"):
        preparation_job(settings, "halvse")
    with pytest.raises(SettingsError, match="'halvse'; did you mean 'halves'"):
        training_job(settings, 0, "scratch", "halvse")
    with pytest.raises(SettingsError, match="'scrach'; did you mean 'scratch'"):
        training_job(settings, 0, "scrach", "halves")


def test_every_method_has_the_same_steps_for_a_task_and_one_has_those_of_the_base_in_addition(
    content: Content,
) -> None:
    changes = {"tasks": {"halves": {"training": {"steps": 11, "batch_size": 2}}}, "base": {"steps": 5}}
    settings = resolve(content, changes)
    jobs = [training_job(settings, 0, method, "halves") for method in METHODS]
    sizes = {
        job.method: (task.steps, task.batch_size) for job in jobs for task in job.tasks if task.name == "halves"
    }
    assert sizes.pop("scratch-long") == (16, 2)
    assert set(sizes.values()) == {(11, 2)} and {job.training.learning_rate for job in jobs} == {0.01}
    assert training_job(settings, 0, "scratch-long", "halves").training.steps == 16
    assert training_job(settings, 0, "scratch-long", "colour").tasks[0].steps == 6 + 5


def test_the_learning_rate_of_a_method_changes_its_trainings_alone(params_yaml: Content) -> None:
    later = ("voc-seg", "colorize", "style-gogh", "style-munch")
    rates = {**params_yaml["presets"]["mini"]["learning_rates"], "ewc": 1e-4}
    changed = changed_by(params_yaml, "learning_rates", rates)
    assert changed == {f"train ewc {task}" for task in later}
    settings = resolve(params_yaml, {"learning_rates": {"ewc": 0.5}})
    jobs = {method: training_job(settings, 0, method, "coco-seg") for method in (BASE, "ewc")}
    assert {method: job.training.learning_rate for method, job in jobs.items()} == {BASE: 5e-3, "ewc": 0.5}
    with pytest.raises(SettingsError, match="learning_rates: unknown name 'decodr'"):
        resolve(params_yaml, {"learning_rates": {"decodr": 0.5}})


@pytest.mark.parametrize("rate", ["learning_rate", "encoder_lr_multiplier"])
def test_the_learning_rate_of_a_task_has_priority_over_that_of_a_method(content: Content, rate: str) -> None:
    changes = {f"{rate}s": {"decoder": 0.5}, "tasks": {"colour": {"training": {rate: 0.25}}}}
    settings = resolve(content, {**changes, "network": {"encoder": "resnet18"}})
    assert getattr(training_job(settings, 0, "decoder", "colour").training, rate) == 0.25
    assert getattr(training_job(settings, 0, "decoder", "halves").training, rate) == 0.5


def test_a_training_depends_on_its_seed(content: Content) -> None:
    settings = resolve(content)
    assert (
        training_job(settings, 0, "scratch", "halves").digest()
        != training_job(settings, 1, "scratch", "halves").digest()
    )


def test_only_its_job_depends_on_a_composition(params_yaml: Content) -> None:
    before = resolve(params_yaml)
    name = "piggyback-style-gogh+style-munch"
    compositions = [{**made.model_dump(), "steps": 9} for made in before.compositions if made.name == name]
    after = resolve(params_yaml, {"compositions": compositions})
    assert composition_job(before, name).digest() != composition_job(after, name).digest()
    assert before.digest() == after.digest() == resolve(params_yaml, {"compositions": []}).digest()
    assert training_job(before, 0, BASE, "coco-seg") == training_job(after, 0, BASE, "coco-seg")
    assert evaluation_job(before, 0, "piggyback") == evaluation_job(after, 0, "piggyback")


def test_a_composition_depends_on_its_tasks_and_method_alone(params_yaml: Content) -> None:
    def changed(path: str, value: object) -> set[str]:
        before, after = resolve(params_yaml), resolve(params_yaml, nested(path, value))
        return {name for name in before.composed if composition_job(before, name) != composition_job(after, name)}

    masks, blocks = "piggyback-style-gogh+style-munch", "resblock6-colorize+style-gogh"
    assert changed("tasks/style-munch/style_weight", 3.5) == {masks}
    assert changed("tasks/colorize/loss", "l2") == {blocks}
    assert changed("method_settings/piggyback/threshold", 4e-3) == {masks}
    assert changed("samples", 2) == {masks, blocks}
    assert changed("training/steps", 7) == changed("tasks/voc-seg/others", "ignored") == set()


def test_compositions_of_tasks_that_are_not_learned_are_left_out(params_yaml: Content) -> None:
    settings = resolve(params_yaml, {"sequence": ["coco-seg", "colorize", "style-gogh"]})
    assert list(settings.composed) == ["resblock6-colorize+style-gogh"]
    with pytest.raises(SettingsError, match="unknown composition 'piggyback-style-gogh"):
        composition_job(settings, "piggyback-style-gogh+style-munch")


def test_every_method_can_be_learned_whether_it_is_compared_or_not(params_yaml: Content) -> None:
    settings = resolve(params_yaml, {"methods": ["scratch"]})
    assert training_job(settings, 0, "resblock6", "colorize").network.blocks == 6
    assert evaluation_job(settings, 0, "resblock6").method == "resblock6"


def test_the_network_is_the_users_choice_except_for_methods_with_a_network(content: Content) -> None:
    blocks_of_method = {"resblock6": 6, "resblock9": 9, "piggyback-resblock": 6, AUTOENCODER: 0}
    for network in (UNetSettings(width=3, padding="zeros"), ResblockSettings(width=3, padding="zeros", blocks=2)):
        settings = resolve(content, {"network": network.model_dump(), "methods": ["scratch"]})
        assert settings.network_of("scratch") == settings.network_of(BASE) == network
        for name, blocks in blocks_of_method.items():
            expected = ResblockSettings(width=3, padding="zeros", blocks=blocks)
            assert settings.network_of(name) == expected
            job = training_job(settings, 0, name, "shapes").model_dump(mode="json")
            assert network_settings(job["network"]) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"name": "unett"}}, "network.name: unknown network 'unett'; did you mean 'unet'?"),
        ({"network": {"name": ["unet"]}}, "network.name: unknown network ['unet']; did you mean 'unet'?"),
        (
            {"network": {"blocks": 3}},
            "network.blocks: unknown setting; choose from encoder, encoder_weights, name, padding, width",
        ),
        ({"network": {"resblock_width": 3}}, "network.resblock_width: was renamed; write networks.resblock.width"),
        ({"networks": {"resblok": {}}}, "networks: unknown network 'resblok'; did you mean 'resblock'?"),
        (
            {"networks": {"resblock": {"blocks": 3}}},
            "networks.resblock.blocks: resblock6 sets it; leave it out",
        ),
        (
            {"networks": {"resblock": {"widht": 3}}},
            "networks.resblock.widht: unknown setting; did you mean",
        ),
        ({"networks": {"resblock": {"width": 0}}}, "networks.resblock.width: "),
        (
            {"network": {"name": "resblock"}, "methods": ["scratch", "decoder"]},
            "methods: decoder does not work on the network 'resblock'; remove decoder, or set network.name to unet",
        ),
    ],
)
def test_an_impossible_network_is_refused_with_its_key(content: Content, changes: Content, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        resolve(content, changes)


def test_all_methods_are_those_that_work_on_the_network(content: Content) -> None:
    settings = resolve(content, {"network": {"name": "resblock"}, "methods": "all"})
    assert settings.methods == [name for name in METHODS if name != "decoder"]
    assert resolve(content, {"methods": "all"}).methods == list(METHODS)
    with pytest.raises(SettingsError, match="decoder does not work on the network 'resblock'"):
        training_job(settings, 0, "decoder", "halves")


def test_the_width_of_residual_networks_changes_their_trainings_alone(params_yaml: Content) -> None:
    changed = changed_by(params_yaml, "networks/resblock/width", 24)
    residual = [method for method, entry in METHODS.items() if entry.network is not None]
    assert {job.split()[1] for job in changed} == {*residual}
    assert resolve(params_yaml, nested("networks/resblock/width", 24)).network_of("resblock6").width == 24


@pytest.mark.parametrize("preset", ["mini", "real", "paper"])
def test_no_result_of_a_preset_is_measured_on_dev(params_yaml: Content, preset: str) -> None:
    settings = resolve(params_yaml, {"preset": preset, "methods": "all"})
    measured = [evaluation_job(settings, 0, method) for method in (FLOOR, *METHODS)]
    trained = [training_job(settings, 0, method, settings.base_task) for method in (BASE, *METHODS)]
    composed = [composition_job(settings, name) for name in settings.composed]
    assert {job.split for job in (*measured, *trained, *composed)} == {"val"}


def test_the_learning_rate_of_an_encoder_needs_an_encoder_of_timm(params_yaml: Content) -> None:
    for path, task in (
        ("training/encoder_lr_multiplier", "voc-seg"),
        ("encoder_lr_multipliers/piggyback", "voc-seg"),
        ("tasks/colorize/training/encoder_lr_multiplier", "colorize"),
    ):
        slower = nested(path, 0.3)
        with pytest.raises(SettingsError, match=f"^{path.replace('/', '.')}: the network has no encoder of timm"):
            resolve(params_yaml, slower)
        settings = resolve(params_yaml, {**slower, "network": {"encoder": "resnet18"}})
        assert training_job(settings, 0, "piggyback", task).training.encoder_lr_multiplier == 0.3
