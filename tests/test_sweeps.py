import re
from typing import Any

import pytest

from palimpsest.errors import SettingsError
from palimpsest.jobs import training_job
from palimpsest.methods import AUTOENCODER, BASE
from palimpsest.params import resolve
from palimpsest.settings import Variant
from palimpsest.sweeps import sweeps_of, vary
from palimpsest.task_files import TaskFiles

Content = dict[str, Any]


def with_sweeps(content: Content, **variants: Content) -> Content:
    return {**content, "sweeps": {"tiny": {"piggyback": variants}}}


SLOWER = {"method_settings": {"piggyback": {"score_learning_rate": 1e-4}}}


def test_a_variant_overrides_the_settings(content: Content) -> None:
    swept = with_sweeps(content, slower=SLOWER)
    main, varied = resolve(swept), vary(swept, {"seeds": [3]}, "slower")
    assert (main.variant, varied.seeds) == (None, [3])
    assert varied.method_settings["piggyback"].model_dump()["score_learning_rate"] == 1e-4
    assert training_job(varied, 3, "decoder", "colour") == training_job(
        resolve(swept, {"seeds": [3]}), 3, "decoder", "colour"
    )
    assert main.digest() == resolve(content).digest()  # variants are no settings of the study


@pytest.mark.parametrize(
    ("changes", "trains_base"),
    [
        (SLOWER, False),
        ({"base": {"steps": 9}}, True),
        ({"network": {"padding": "zeros"}}, True),
        ({"autoencoder": {"steps": 9}}, False),
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
        ({"base": {"steps": 9}}, False),
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
        ({"piggyback": {"a": {}}, "decoder": {"a": {}}}, "sweeps.tiny: duplicate name 'a'; rename one variant"),
        ({"piggyback": {"a/b": {}}}, "sweeps.tiny.piggyback: invalid name 'a/b'; use letters, digits"),
        ({"piggyback": {"a": 3}}, "sweeps.tiny.piggyback.a: has to be a mapping of settings, found 3"),
        ({"piggyback": [3]}, "sweeps.tiny.piggyback: has to be a mapping of settings, found [3]"),
        (
            {"piggyback": {"a": {}}, "joint": {"b": {}}},
            "sweeps.tiny.joint: joint learns all tasks in one training, and a sweep trains them one by one",
        ),
    ],
)
def test_a_sweep_that_cannot_be_read_is_refused_with_its_path(
    content: Content, sweep: Content, message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        sweeps_of({**content, "sweeps": {"tiny": sweep}}, {})


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
    assert varied.variant == Variant(name="painted", trains_base=False)


def test_another_loss_of_the_base_task_changes_the_base_network_and_not_the_auto_encoder(
    content: Content,
) -> None:
    changes = {"tasks": {"shapes": {"loss": "l1"}}}
    for method, trains_base in (("piggyback", True), ("resblock6", False), ("piggyback-resblock", False)):
        variant = vary({**content, "sweeps": {"tiny": {method: {"painted": changes}}}}, {}, "painted").variant
        assert variant is not None
        assert variant.trains_base == trains_base


def test_sweeps_of_the_preset_do_not_depend_on_the_compared_methods(content: Content) -> None:
    swept = with_sweeps(content, slower=SLOWER)
    assert sweeps_of(swept, {}) == sweeps_of(swept, {"methods": ["scratch"]}) == {"piggyback": {"slower": SLOWER}}
    assert sweeps_of(content, {}) == {}


def test_an_unknown_variant_is_named(content: Content) -> None:
    with pytest.raises(SettingsError, match="unknown variant of a sweep 'slow'; did you mean 'slower'"):
        vary(with_sweeps(content, slower=SLOWER), {}, "slow")


def test_every_variant_of_the_repository_resolves(params_yaml: Content) -> None:
    for preset in params_yaml["sweeps"]:
        over = {"preset": preset}
        for sweep in sweeps_of(params_yaml, over).values():
            for name, changes in sweep.items():
                varied = vary(params_yaml, over, name)
                assert varied.variant is not None
                assert varied.variant.trains_base == bool({"base", "network", "training"} & {*changes})
