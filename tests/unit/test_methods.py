"""The report's section on methods, and the references that it cites."""

import ast
import json
import re
from typing import get_args

import pytest
from report_pages import MNIST, plain, set_dataset, set_recipe

from deepnets.reporting import methods
from deepnets.reporting.references import cite, cited, list_references, read_references
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json

REFERENCES = paths.REPOSITORY / paths.REFERENCES


def section(text):
    return text.split("\n## Methods\n")[1].split("\n## Provenance\n")[0]


def words(text):
    return plain(section(text))


def test_every_key_that_a_report_may_cite_is_in_the_file_and_every_entry_is_cited():
    """Keys are texts of methods.py, and nothing else there looks like one."""
    tree = ast.parse((paths.REPOSITORY / "scripts/deepnets/reporting/methods.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    keys = {text for text in texts if re.fullmatch(r"[a-z]+(19|20)\d\d|gosaye", text)}
    assert keys == set(read_references(REFERENCES))


def test_every_entry_has_an_author_a_title_and_a_doi_or_an_address():
    text = REFERENCES.read_text(encoding="utf-8")
    entries = read_references(REFERENCES)
    assert len(entries) == len(re.findall(r"(?m)^@", text)) > 40
    for key, entry in entries.items():
        assert entry.authors, key
        assert entry.title, key
        assert re.fullmatch(r"https://\S+", entry.address), key


def test_what_is_cited_is_listed_once_in_its_order_and_nothing_else(experiment, write_report):
    text = section(write_report(experiment(**MNIST), experiment(**MNIST, model="vgg16")))
    paragraphs, listed = text.split("### References")
    keys = re.findall(r"(?m)^- <code>(\w+)</code> ", listed)
    assert keys == cited(paragraphs) == list(dict.fromkeys(re.findall(r"@(\w+)", paragraphs)))
    assert {"gosaye", "simonyan2015", "he2016", "mcnemar1947", "holm1979", "guo2017", "sutskever2013"} < set(keys)
    assert {"sandler2018", "satterthwaite1946", "hendrycks2019", "jordan2024"}.isdisjoint(keys)


@pytest.mark.parametrize(
    ("spec", "about", "key"),
    [
        ({"source": "sklearn_digits"}, {}, "alpaydin1998"),
        ({"source": "torchvision", "name": "MNIST"}, {}, "lecun1998"),
        ({"source": "torchvision", "name": "FashionMNIST"}, {}, "xiao2017"),
        ({"source": "torchvision", "name": "CIFAR100"}, {}, "krizhevsky2009"),
        ({"source": "folder"}, {"variant_of": "cifar10"}, "krizhevsky2009"),
        ({"source": "folder"}, {"variant_of": "fashion_mnist"}, "xiao2017"),
        ({"source": "csv"}, {"variant_of": "digits"}, "alpaydin1998"),
        ({"source": "torchvision", "name": "SVHN"}, {"variant_of": "numbers"}, "netzer2011"),
        ({"source": "folder"}, {}, None),
    ],
)
def test_a_known_dataset_is_cited_and_so_is_one_that_stands_for_it(experiment, write_report, spec, about, key):
    directory = experiment("pictures")
    set_dataset(directory, **spec)
    text = section(write_report(directory, datasets={"pictures": about}))
    datasets = {"alpaydin1998", "lecun1998", "krizhevsky2009", "xiao2017", "clanuwat2018", "netzer2011"}
    assert datasets & set(cited(text)) == ({key} if key else set())


def test_a_line_has_authors_title_place_and_a_link():
    [wilson] = list_references(["wilson1927"])
    assert wilson == (
        "<code>wilson1927</code> Wilson: Probable Inference, the Law of Succession, and Statistical Inference."
        " Journal of the American Statistical Association 1927."
        " [10.1080/01621459.1927.10502953](https://doi.org/10.1080/01621459.1927.10502953)"
    )
    [guo] = list_references(["guo2017"])
    assert "Guo et al.: On Calibration" in guo
    [brier] = list_references(["brier1950"])
    assert brier.endswith("(https://doi.org/10.1175/1520-0493%281950%29078%3C0001:VOFEIT%3E2.0.CO%3B2)")


def test_a_name_of_a_user_is_no_citation(experiment, write_report):
    assert cited(f"[@no1] <code>@no2</code> {cite('a1', 'b2')}, {cite('a1')}") == ["a1", "b2"]
    text = section(write_report(experiment(dataset="[@x2020]")))
    assert "x2020" not in cited(text)


def test_one_seed_has_mcnemar_and_wilson_several_have_variance_components(experiment, write_report):
    one = words(write_report(experiment(), experiment(model="vgg16")))
    assert "has a 95 % interval; for one training run, it is Wilson's over images [@wilson1927]." in one
    assert "The one pair of networks was compared on the same test images by exact McNemar tests" in one
    assert "crossed random effects" not in one
    several = words(write_report(*(experiment(model=m, seed=s) for m in ("vgg16", "resnet50") for s in range(3))))
    assert "Each was trained with 3 seeds; a seed decides the first weights, the order of the images" in several
    intervals = "seeds and images are two crossed random effects [@searle1992; @satterthwaite1946]"
    assert f"has a 95 % interval; over several seeds, {intervals}" in several
    assert "by t tests over seeds and images [@satterthwaite1946], at 5 % after Holm's correction" in several
    assert "McNemar" not in several


def test_one_network_alone_is_compared_with_nothing(experiment, write_report):
    text = words(write_report(experiment()))
    assert "Holm" not in text
    assert (
        "digits [@alpaydin1998] (1,293 training, 144 validation and 360 test images of 1 x 28 x 28, 10 classes)" in text
    )
    assert "ResNet50 [@he2016] was trained on digits" in text
    assert "It was trained with one seed; a seed decides" in text
    assert "All weights started at random." in text


def test_training_is_described_by_the_recipes_that_were_used(experiment, write_report):
    of_muon, plain_run = experiment(recipe="muon", epochs=3), experiment(epochs=12)
    augment = {"rotation": 10.0, "horizontal_flip": True, "mixup": 0.2}
    set_recipe(of_muon, optimizer="muon", schedule="one_cycle", label_smoothing=0.1, augment=augment)
    set_recipe(plain_run, schedule="cosine", weight_averaging="ema")
    text = words(write_report(of_muon, plain_run))
    assert "Training took 3 to 12 epochs in batches of 64 images, by" in text
    sgd = "stochastic gradient descent with Nesterov momentum [@sutskever2013]"
    muon = "Muon [@jordan2024; @amsel2025] for convolutions and hidden layers of up to 8 million parameters"
    assert f"by {muon} (all others: {sgd}) and {sgd}; the learning rate rises and falls" in text
    assert "no weight decay [@he2019], nor had the weights that took Muon's steps, which keep their norms." in text
    assert "rises and falls in one cycle [@smith2018] or falls along a cosine [@loshchilov2017]." in text
    half = "(in 1 of 2 training runs)"
    mirrored = "half of the images mirrored left to right, "
    assert f"Further: label smoothing {half} [@szegedy2016], {mirrored}mixup {half} [@zhang2018] and a moving" in text
    assert f"a moving average of the weights {half} [@polyak1992]." in text
    assert "cutout" not in text
    assert "Of several recipes of a network, the one with the best validation accuracy stands for it." in text


def test_the_warm_up_of_the_learning_rate_is_described_with_its_range(experiment, write_report):
    runs = [experiment(model=model) for model in ("vgg16", "resnet50")]
    for folder, warmup in zip(runs, (0.2, 0.1), strict=True):
        set_recipe(folder, schedule="linear", warmup=warmup)
    rises = "after a linear warm-up over the first 10 to 20 % of the steps."
    assert f"the learning rate falls along a line, {rises}" in words(write_report(*runs))
    for folder in runs:
        set_recipe(folder, schedule="one_cycle", warmup=0.3)
    one_cycle = "rises and falls in one cycle [@smith2018], rising over the first 30 % of the steps."
    assert f"the learning rate {one_cycle}" in words(write_report(*runs))
    for folder in runs:
        set_recipe(folder, schedule="cosine", warmup=0)
    assert "the learning rate falls along a cosine [@loshchilov2017]. Normal" in words(write_report(*runs))


def test_the_learning_rates_of_muon_are_explained_under_recipes(experiment, write_report):
    run = experiment()
    set_recipe(run, optimizer="muon", sgd_lr=0.1, classifier_lr=0.02)
    recipes = plain(write_report(run).split("\n## Recipes\n")[1].split("\n## Networks\n")[0])
    assert "Of Muon, lr is the highest learning rate of the orthogonal steps of convolutions" in recipes
    assert "classifier_lr that of the SGD steps of the classifier" in recipes
    assert "sgd_lr that of the SGD steps of normalisation layers" in recipes
    set_recipe(run, optimizer="sgd")
    assert "Of Muon" not in write_report(run)


def test_it_is_not_claimed_that_the_test_images_were_never_used_before(experiment, write_report):
    text = write_report(experiment())
    assert "found is not recorded, and earlier runs may have been tested." in words(text)
    opening = " ".join(text.split("## Results")[0].split())
    assert "The weights of each run were tested once, after training. How the values of the recipes were" in opening


def test_networks_of_some_datasets_only_are_named(experiment, write_report):
    runs = [experiment("mnist", model) for model in ("vgg16", "resnet50", "mobilenet_v2")]
    text = words(write_report(*runs, experiment("photos"), experiment("photos", "vgg16")))
    assert "Only ResNet50 and VGG-16 were trained on photos." in text
    assert "Only " not in words(write_report(*runs))


@pytest.mark.parametrize(
    ("architecture", "key"),
    [
        ("torchvision/wide_resnet50_2", "zagoruyko2016"),
        ("torchvision/resnet18", "he2016"),
        ("timm/mobilenetv3_small_100.lamb_in1k", "howard2019"),
        ("torchvision/mobilenet_v2", "sandler2018"),
        ("timm/starnet_s1", None),
        ("workflow/networks/resnet9.py:ResNet9", None),
    ],
)
def test_a_library_s_network_is_cited_by_its_family(experiment, write_report, architecture, key):
    directory = experiment(model="mine")
    metrics = read_json(directory / "metrics.json")
    metrics["spec"]["model"]["architecture"] = architecture
    write_json(directory / "metrics.json", metrics)
    keys = set(cited(section(write_report(directory))))
    assert keys & {"zagoruyko2016", "he2016", "howard2019", "sandler2018"} == ({key} if key else set())


def test_what_would_settle_a_pair_has_its_method_only_where_one_is_open(experiment, write_report):
    def methods(*accuracies, seeds=1):
        models = zip(("vgg16", "resnet50"), accuracies, strict=True)
        return words(write_report(*(experiment(model=m, seed=s, accuracy=a) for m, a in models for s in range(seeds))))

    assert "sample size of paired designs" in methods(0.95, 0.94)
    assert "sample size of paired designs" not in methods(0.95, 0.5)
    assert "has a power of 80 %" in methods(0.95, 0.94, seeds=3)
    assert "has a power of 80 %" not in methods(0.95, 0.5, seeds=3)


def test_equivalence_and_published_numbers_have_their_method(experiment, write_report):
    text = words(write_report(experiment(**MNIST), experiment(**MNIST, model="vgg16")))
    assert "within 0.5 percentage points [@schuirmann1987], each pair at 5 %, uncorrected." in text
    assert "is that of two independent proportions [@newcombe1998]." in text


def test_corruptions_are_cited_where_they_were_measured(experiment, write_report):
    directory = experiment()
    assert "hendrycks2019" not in section(write_report(directory))
    sentence = (
        "accuracy under six corruptions of Hendrycks and Dietterich [@hendrycks2019], shift and rotation, at three"
        " severities each, on 360 test images."
    )
    assert sentence in words(write_report(directory, optional=("robustness",)))
    larger = experiment("mnist", n_test=2000)
    assert "on 360 to 2,000 test images." in words(write_report(directory, larger, optional=("robustness",)))


def test_every_option_that_is_described_is_one_of_a_recipe():
    from deepnets.config.optimizers import OPTIMIZERS
    from deepnets.config.recipe import ProgressiveResizing, Recipe

    known = json.dumps(Recipe(progressive_resizing=ProgressiveResizing()).model_dump())
    for option in methods._INGREDIENTS:
        assert all(f'"{part}"' in known for part in option.split(".")), option
    assert set(methods._OPTIMIZERS) == set(OPTIMIZERS)
    assert set(methods._SCHEDULES) == set(get_args(Recipe.model_fields["schedule"].annotation))


def test_a_missing_file_of_references_is_named_with_the_remedy(experiment, write_report, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REFERENCES", str(tmp_path / "none.bib"))
    with pytest.raises(UserError, match=r"none\.bib: the file is missing; restore it with: git checkout"):
        write_report(experiment())
