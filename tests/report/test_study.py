from palimpsest.report import study


def test_totals_are_the_sums_of_the_printed_values():
    assert study.SIZE_MIB["scratch"] == 56.4 * 5
    assert round(56.4 + 20.5 * 4, 1) == study.SIZE_MIB["decoder"]
    assert round(56.4 + 1.8 * 4, 1) == study.SIZE_MIB["piggyback"]


def test_only_fine_tune_forgets_in_the_study():
    learned = {(row.task, row.metric): row.values for row in study.RESULTS}
    for row in study.FORGETTING:
        for method, before, now in zip(study.METHODS, learned[row.task, row.metric], row.values, strict=True):
            assert (now == before) == (method not in ("scratch", "fine-tune"))


def test_every_pair_of_the_five_tasks_has_its_similarity():
    order = ["coco-seg", "voc-seg", "colorize", "style-gogh", "style-munch"]
    expected = {(later, earlier) for i, later in enumerate(order) for earlier in order[:i]}
    assert study.MASK_SIMILARITY.keys() == expected
