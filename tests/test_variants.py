import re
from typing import Any

import pytest

from palimpsest.errors import SettingsError
from palimpsest.jobs import evaluation_job, training_job
from palimpsest.layout import CURRENT
from palimpsest.methods import AUTOENCODER, BASE, METHODS
from palimpsest.params import resolve
from palimpsest.settings import Variant
from palimpsest.task_files import TaskFiles
from palimpsest.variants import (
    Ablation,
    ablations_of,
    changed_settings,
    sweeps_of,
    takes_reference,
    variants_of,
    vary,
)

Content = dict[str, Any]


def with_sweeps(content: Content, **variants: Content) -> Content:
    return {**content, "sweeps": {"tiny": {"piggyback": variants}}}


SLOWER = {"method_settings": {"piggyback": {"score_learning_rate": 1e-4}}}


def test_a_variant_overrides_the_settings(content: Content) -> None:
    swept = with_sweeps(content, slower=SLOWER)
    main, varied = resolve(swept), vary(swept, {"seeds": [3]}, "slower")
    assert (main.variant, varied.seeds) == (None, [3])
    assert varied.method_settings["piggyback"].model_dump()["score_learning_rate"] == 1e-4
    unchanged = training_job(resolve(swept, {"seeds": [3]}), 3, "decoder", "colour")
    assert training_job(varied, 3, "decoder", "colour") == unchanged.model_copy(update={"split": "dev"})
    assert main.digest() == resolve(content).digest()  # variants are no settings of the study


@pytest.mark.parametrize(
    ("changes", "trains_base"),
    [
        (SLOWER, False),
        ({"base": {"steps": 9}}, True),
        ({"network": {"padding": "zeros"}}, True),
    ],
)
def test_a_variant_has_a_separate_base_network_if_its_settings_affect_it(
    content: Content, changes: Content, trains_base: bool
) -> None:
    layout = vary(with_sweeps(content, other=changes), {}, "other").layout
    assert str(layout.stored(0, "piggyback", "colour")) == (
        "models/tiny.sweep/other/seed-0/piggyback/colour.safetensors"
    )
    assert str(layout.stored(0, BASE, "shapes")) == (
        f"models/{'tiny.sweep/other' if trains_base else 'tiny'}/seed-0/base/shapes.safetensors"
    )
    assert str(layout.evaluation(0, "piggyback")) == "results/tiny.sweep/other/evaluation/seed-0/piggyback"
    assert layout.prepared("colour") == resolve(content).layout.prepared("colour")


@pytest.mark.parametrize("method", ["resblock6", "resblock9", "piggyback-resblock"])
@pytest.mark.parametrize(
    ("changes", "trains_base"),
    [
        ({"autoencoder": {"steps": 9}}, True),
        ({"networks": {"resblock": {"width": 3}}}, True),
        ({"training": {"weight_decay": 0.5}, "autoencoder": {"steps": 6}}, True),
        ({"tasks": {"shapes": {"loss": "l1"}}}, False),
    ],
)
def test_a_variant_has_a_separate_auto_encoder_if_its_settings_affect_it(
    content: Content, method: str, changes: Content, trains_base: bool
) -> None:
    varied = vary({**content, "sweeps": {"tiny": {method: {"other": changes}}}}, {}, "other")
    steps = changes.get("autoencoder", {}).get("steps", 6)
    assert training_job(varied, 0, AUTOENCODER, "shapes").training.steps == steps
    stored = varied.layout.stored(0, AUTOENCODER, "shapes")
    assert str(stored) == (
        f"models/{'tiny.sweep/other' if trains_base else 'tiny'}/seed-0/autoencoder/shapes.safetensors"
    )
    task_files = TaskFiles(varied.layout, 0, method, varied.sequence)
    assert task_files.base_files()[0] == stored
    assert all("tiny.sweep/other" in str(path) for path in task_files.files() if path != stored)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"pigyback": {}}, "sweeps.tiny: unknown method 'pigyback'; did you mean 'piggyback'?"),
        ({"piggyback": {"a": {}}, "decoder": {"a": {}}}, "sweeps: duplicate name 'a' of a variant; rename one"),
        ({"piggyback": {"a/b": {}}}, "sweeps.tiny.piggyback: invalid name 'a/b'; use letters, digits"),
        ({"piggyback": {"current": {}}}, "sweeps.tiny.piggyback: the name 'current' means the current settings;"),
        ({"piggyback": {"a": 3}}, "sweeps.tiny.piggyback.a: has to be a mapping of settings, found 3"),
        ({"piggyback": [3]}, "sweeps.tiny.piggyback: has to be a mapping of settings, found [3]"),
        (
            {"piggyback": {"a": {}}, "joint": {"b": {}}},
            "sweeps.tiny: joint learns all tasks in one training, and variants train them one by one; name another",
        ),
    ],
)
def test_a_sweep_that_cannot_be_read_is_refused_with_its_path(
    content: Content, sweep: Content, message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        variants_of({**content, "sweeps": {"tiny": sweep}}, {})


def test_sweeps_of_an_unknown_preset_are_refused(content: Content) -> None:
    with pytest.raises(SettingsError, match=r"^sweeps\.tinny: unknown preset 'tinny'; did you mean 'tiny'\?$"):
        sweeps_of({**content, "sweeps": {"tinny": {}}}, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {"step": 3}}, "base.step: unknown setting; did you mean 'steps'?"),
        (
            {"pictures": {"size": 96}},
            "a variant cannot change pictures; change network, networks, base, autoencoder, training,",
        ),
        ({"seeds": [1]}, "a variant cannot change seeds;"),
        ({"methods": ["scratch"]}, "a variant cannot change methods;"),
        ({"tasks": {"colour": {"output": "chroma"}}}, "a variant cannot change tasks.colour;"),
        ({"sequence": ["shapes", "colour"]}, "a variant cannot change sequence;"),
        ({"training": {"threads": 2}}, "a variant cannot change training.threads;"),
        ({"base": {"encoder_weights": "a.pth"}}, "a variant cannot change base.encoder_weights;"),
    ],
)
def test_a_variant_that_cannot_be_compared_is_refused(content: Content, changes: Content, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^sweeps: a: {re.escape(message)}"):
        vary(with_sweeps(content, a=changes), {}, "a")


def test_a_variant_may_have_another_loss_and_fewer_tasks(content: Content) -> None:
    changes = {"sequence": ["shapes", "halves"], "tasks": {"halves": {"loss": "l1"}}}
    varied = vary(with_sweeps(content, painted=changes), {}, "painted")
    assert varied.sequence == ["shapes", "halves"] == resolve(content).sequence[:2]
    assert training_job(varied, 0, "piggyback", "halves").tasks[0].settings.model_dump()["loss"] == "l1"
    assert varied.variant == Variant(name="painted", shares="base", split="dev")


def test_a_variant_of_a_sweep_may_balance_a_loss(content: Content) -> None:
    balanced = {"tasks": {"shapes": {"class_balance": 0.5}, "colour": {"colour_balance": 0.5}}}
    varied = vary(with_sweeps(content, balanced=balanced), {}, "balanced")
    assert training_job(varied, 0, "piggyback", "colour").tasks[0].settings.model_dump()["colour_balance"] == 0.5


def test_another_loss_of_the_base_task_changes_the_base_network_and_not_the_auto_encoder(
    content: Content,
) -> None:
    changes = {"tasks": {"shapes": {"loss": "l1"}}}
    for method, trains_base in (("piggyback", True), ("resblock6", False), ("piggyback-resblock", False)):
        variant = vary({**content, "sweeps": {"tiny": {method: {"painted": changes}}}}, {}, "painted").variant
        assert variant is not None
        assert (variant.shares == "none") == trains_base


def test_sweeps_of_the_preset_do_not_depend_on_the_compared_methods(content: Content) -> None:
    swept = with_sweeps(content, slower=SLOWER)
    assert sweeps_of(swept, {}) == sweeps_of(swept, {"methods": ["scratch"]}) == {"piggyback": {"slower": SLOWER}}
    assert sweeps_of(content, {}) == {}


def test_an_unknown_variant_is_named(content: Content) -> None:
    with pytest.raises(SettingsError, match="unknown variant 'slow'; did you mean 'slower'"):
        vary(with_sweeps(content, slower=SLOWER), {}, "slow")


def test_a_sweep_without_the_split_dev_is_refused(content: Content) -> None:
    swept = with_sweeps(content, slower=SLOWER)
    for name in (CURRENT, "slower"):
        with pytest.raises(SettingsError, match=r"sweeps measure on the split dev, but pictures\.dev_share is 0"):
            vary(swept, {"pictures": {"dev_share": 0}}, name)


def test_a_name_that_ends_as_a_file_of_settings_is_refused(content: Content) -> None:
    with pytest.raises(SettingsError, match="'slower-settings' ends as the name of a file of settings"):
        vary(with_sweeps(content, **{"slower-settings": SLOWER}), {}, "slower-settings")


def test_an_ablation_lists_its_changes_with_the_values_of_the_preset(content: Content) -> None:
    ablated = with_ablations(content, short={"methods": ["scratch"], "changes": {"training": {"steps": 2}}})
    assert changed_settings(ablated, {}, "short") == [("training.steps", 2, 6)]
    assert changed_settings(ablated, {"training": {"steps": 9}}, "short") == [("training.steps", 2, 9)]


@pytest.mark.parametrize(
    ("methods", "ablated", "changes", "expected"),
    [
        (["scratch", "piggyback"], ["piggyback"], {"method_settings": {"piggyback": {"threshold": 0.0}}}, True),
        (["scratch", "piggyback"], ["piggyback"], {"training": {"steps": 3}}, False),  # of `scratch` too
        (["scratch", "piggyback"], ["scratch", "piggyback"], {}, False),  # the ablation has it already
        (["piggyback"], ["piggyback"], {}, False),  # the preset does not train it
    ],
)
def test_an_ablation_is_compared_with_the_scratch_of_the_preset(
    params_yaml: Content, methods: list[str], ablated: list[str], changes: Content, expected: bool
) -> None:
    entry = {"methods": ablated, "changes": changes}
    overrides = {"preset": "mini", "methods": methods, "ablations": {"mini": {"one": entry}}}
    main, varied = resolve(params_yaml, overrides), vary(params_yaml, overrides, "one")
    assert takes_reference(main, varied, ablated) == expected


def test_the_sweeps_of_mini_have_five_values_for_each_method_that_learns_tasks_one_by_one(
    params_yaml: Content,
) -> None:
    sweeps, preset = sweeps_of(params_yaml, {}), resolve(params_yaml)
    together = {method for method, entry in METHODS.items() if entry.together}
    assert {*sweeps} == {*METHODS} - together - {"scratch-long"}  # which is `scratch` with more steps
    for method, variants in sweeps.items():
        settings = [preset, *(vary(params_yaml, {}, name) for name in variants)]
        jobs = [training_job(one, 0, method, "voc-seg").model_copy(update={"split": "dev"}) for one in settings]
        assert len({job.digest() for job in jobs}) == 5, method


def test_every_variant_of_the_repository_resolves(params_yaml: Content) -> None:
    for preset in params_yaml["sweeps"]:
        over = {"preset": preset}
        for sweep in sweeps_of(params_yaml, over).values():
            for name, changes in sweep.items():
                varied = vary(params_yaml, over, name)
                assert varied.variant is not None
                assert (varied.variant.shares == "none") == bool({"base", "network", "training"} & {*changes})


ABLATION = {"methods": ["scratch", "piggyback"], "changes": {"training": {"steps": 2}}}


def with_ablations(content: Content, **ablations: Any) -> Content:
    return {**content, "ablations": {"tiny": ablations}}


def test_an_ablation_is_measured_on_val_and_a_sweep_on_dev(content: Content) -> None:
    both = {**with_ablations(content, short=ABLATION), "sweeps": {"tiny": {"piggyback": {"slower": SLOWER}}}}
    assert ablations_of(both, {}) == {"short": Ablation(("scratch", "piggyback"), ABLATION["changes"])}
    for name, split in (("short", "val"), ("slower", "dev")):
        varied = vary(both, {}, name)
        assert training_job(varied, 0, "piggyback", "colour").split == split
        assert evaluation_job(varied, 0, "piggyback").split == split
    assert vary(both, {}, "short").training.steps == 2
    main = resolve(both)
    assert training_job(main, 0, "piggyback", "colour").split == evaluation_job(main, 0, "scratch").split == "val"


def test_current_settings_are_the_stored_tasks_of_the_preset_measured_on_dev(content: Content) -> None:
    current = vary(content, {}, CURRENT)
    stored = current.layout.stored(0, "piggyback", "colour")
    assert stored == resolve(content).layout.stored(0, "piggyback", "colour")
    assert (
        str(current.layout.evaluation(0, "piggyback")) == "results/tiny.sweep/current/evaluation/seed-0/piggyback"
    )
    assert evaluation_job(current, 0, "piggyback").split == "dev"
    assert training_job(current, 0, "piggyback", "colour").split == "val"


def test_a_variant_that_changes_no_training_uses_the_stored_tasks_of_the_preset(content: Content) -> None:
    for changes in ({"sequence": ["shapes", "halves"]}, {"autoencoder": {"steps": 9}}):
        layout = vary(with_ablations(content, short={**ABLATION, "changes": changes}), {}, "short").layout
        assert layout.shares == "all"
    assert layout.stored(0, "piggyback", "halves") == resolve(content).layout.stored(0, "piggyback", "halves")


def test_a_shared_base_network_is_measured_on_val(content: Content) -> None:
    swept = with_sweeps(content, slower=SLOWER, longer={"base": {"steps": 9}})
    assert training_job(vary(swept, {}, "slower"), 0, BASE, "shapes").split == "val"
    assert training_job(vary(swept, {}, "longer"), 0, BASE, "shapes").split == "dev"


def test_an_ablation_may_change_losses_and_crops_of_a_task_and_not_its_data(content: Content) -> None:
    changes = {"tasks": {"halves": {"loss": "l1", "training": {"smallest_scale": 0.5}}}}
    varied = vary(with_ablations(content, other={**ABLATION, "changes": changes}), {}, "other")
    assert training_job(varied, 0, "piggyback", "halves").tasks[0].pictures.smallest_scale == 0.5
    changes = {"tasks": {"halves": {"images": {"train": 3}}}}
    message = r"^ablations: other: a variant cannot change tasks\.halves; .* that leave the data unchanged of tasks"
    with pytest.raises(SettingsError, match=message):
        vary(with_ablations(content, other={**ABLATION, "changes": changes}), {}, "other")


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        ({"changes": {}}, "ablations.tiny.a.methods: expected a list of methods; name at least one"),
        ({"methods": ["scratsh"]}, "ablations.tiny.a.methods: unknown method 'scratsh'; did you mean 'scratch'?"),
        ({"methods": ["joint"]}, "ablations.tiny.a.methods: joint learns all tasks in one training"),
        ({"method": ["ewc"]}, "ablations.tiny.a: unknown key 'method'; did you mean 'methods'?"),
        ({"methods": ["ewc"], "changes": [1]}, "ablations.tiny.a.changes: has to be a mapping of settings"),
        (["ewc"], "ablations.tiny.a: has to be a mapping of settings"),
    ],
)
def test_an_ablation_that_cannot_be_read_is_refused_with_its_path(
    content: Content, ablation: Any, message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        ablations_of(with_ablations(content, a=ablation), {})


def test_a_sweep_and_an_ablation_need_different_names(content: Content) -> None:
    both = {**with_ablations(content, same=ABLATION), "sweeps": {"tiny": {"piggyback": {"same": SLOWER}}}}
    with pytest.raises(SettingsError, match=r"^ablations: duplicate name 'same' of a variant; rename one of them$"):
        vary(both, {}, "same")


def test_every_ablation_of_the_repository_resolves(params_yaml: Content) -> None:
    for preset in params_yaml["ablations"]:
        for name in ablations_of(params_yaml, {"preset": preset}):
            varied = vary(params_yaml, {"preset": preset}, name)
            assert varied.variant is not None and varied.variant.split == "val"
