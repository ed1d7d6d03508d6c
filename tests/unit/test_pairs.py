"""The table of pairs of a dataset: differences with intervals, corrected p, on which images or in how many runs one is
ahead of the other.
"""

from html import unescape

from report_pages import table_of

from deepnets.utils.files import read_json

NO_BREAK = "\N{NO-BREAK SPACE}"


def pairs(text):
    return table_of(unescape(text).replace(NO_BREAK, " "), "A")[2:]


def test_a_pair_has_its_difference_with_interval_p_and_probability(experiment, write_report, tmp_path):
    runs = [
        experiment(model=model, seed=seed, accuracy=accuracy + 0.02 * seed)
        for model, accuracy in (("vgg16", 0.90), ("resnet50", 0.91))
        for seed in range(3)
    ]
    text = write_report(*runs)
    [pair] = read_json(tmp_path / "results/digits/comparison/statistics.json")["pairs"]
    [row] = pairs(text)
    difference = "+{:.2f}<br>({:+.2f} to {:+.2f})".format(*(100 * v for v in (pair["difference"], *pair["ci95"])))
    assert row[:2] == ["ResNet50", "VGG-16"]
    assert row[2] == pair["verdict"] == "open"
    assert row[3] == difference.replace("-", "−")
    assert row[4:] == [f"{pair['p_holm']:.3f}", f"{pair['probability_a_beats_b']:.2f}"]
    assert row[5] == "0.67"  # of nine pairs of runs, A is ahead in six
    assert "<summary>1 pair on digits: differences, intervals and tests</summary>" in text


def test_single_runs_have_the_images_that_one_alone_has_right_and_no_probability(experiment, write_report, tmp_path):
    text = write_report(experiment(model="vgg16", accuracy=0.5), experiment(accuracy=0.95))
    [pair] = read_json(tmp_path / "results/digits/comparison/statistics.json")["pairs"]
    [row] = pairs(text)
    counts = f"{pair['a_only']} / {pair['b_only']}"
    assert (row[0], row[2], row[4], row[5:]) == ("ResNet50", "A is better", "< 0.001", [counts])
    assert pair["a_only"] - pair["b_only"] == round(0.45 * 360)
    assert "Only A / only B right: the test images that one alone" in text
    assert "and the exact test is stricter than the bootstrap interval" in text
    assert "A beats B" not in text


def test_over_several_seeds_no_images_are_counted_and_next_to_a_single_run_both_columns_are_there(
    experiment, write_report
):
    several = [experiment(model=model, seed=seed) for model in ("vgg16", "resnet50") for seed in range(2)]
    text = write_report(*several)
    assert "only B right" not in text
    assert "the exact test is stricter" not in text
    rows = pairs(write_report(*several, experiment(model="mobilenet_v2", accuracy=0.9)))
    assert {(" / " in row[5], row[6] == "–") for row in rows} == {(True, True), (False, False)}


def test_recipes_that_validation_did_not_choose_are_named_so_and_come_last_whatever_their_test_accuracy(
    experiment, write_report
):
    recipes = (("lucky", 0.95, 0.5), ("tuned", 0.9, 0.8))
    runs = [experiment(recipe=name, accuracy=test, validation_accuracy=share) for name, test, share in recipes]
    text = write_report(*runs)
    [row] = pairs(text)
    assert row[:2] == ["ResNet50 (tuned)", "ResNet50 (lucky), not chosen"]
    assert row[3].startswith("−5.00<br>")
    order = "A is before B in the order of validation accuracy"
    assert f"{order}, in which recipes that validation did not choose come last." in text
    assert "come last" not in write_report(runs[0], experiment(model="vgg16"))


def test_statistics_json_is_linked_below_the_pairs(experiment, write_report):
    text = write_report(experiment(model="vgg16"), experiment())
    below = text.partition("| A | B |")[2].partition("</details>")[0]
    assert "[statistics.json](digits/comparison/statistics.json) has all their numbers." in below


def test_a_single_network_has_no_pairs(experiment, write_report):
    assert "differences, intervals and tests" not in write_report(experiment())


def test_the_report_says_why_the_interval_of_an_open_pair_may_leave_out_0(experiment, write_report):
    several = [experiment(model=model, seed=seed) for model in ("vgg16", "resnet50") for seed in range(2)]
    words = "95 % interval may leave out 0 where p is a little above 0.05; the test decides."
    assert words in write_report(*several)
    assert words not in write_report(several[0], several[2])
