"""A report of hundreds of experiments is still a page that code hosts show."""

import re
import time
from urllib.parse import unquote

import pytest
from report_pages import tables


def test_a_thousand_experiments_are_still_a_page_that_code_hosts_render(experiment, write_report, tmp_path):
    directories = [
        experiment(f"set{dataset}", f"net{model}", recipe, seed, accuracy=0.8 + model / 100, epochs=2)
        for dataset in range(10)
        for model in range(10)
        for recipe in ("quick", "long")
        for seed in range(5)
    ]
    start = time.process_time()
    text = write_report(*directories)
    assert time.process_time() - start < 60  # seconds of the processor: other work on the machine does not count
    assert len(text.encode()) < 512_000
    # Pairs and experiments of each dataset, the training runs, and how to read the figures of three sections.
    assert text.count("<details") == 10 + 10 + 1 + 4
    assert len(tables(text)[0]) == 2 + 20 + 1
    assert len(tables(text)[1]) == 2 + 50
    assert "statistics.json](set0/comparison/statistics.json) has 140 more." in text
    index = tmp_path / "results/report.pages/index.md"
    assert index.stat().st_size < 512_000
    assert [len(table) for table in tables(index.read_text())] == [2 + 100] * 10


@pytest.fixture
def sweep(experiment, write_report):
    """The report of 3 networks with 100 recipes each, one after the other more accurate."""
    return write_report(
        *(
            experiment("mnist", model, f"lr{place:02}", accuracy=0.5 + 0.15 * number + place / 1000, epochs=1 + place)
            for number, model in enumerate(("vgg16", "resnet50", "my_net"))
            for place in range(100)
        )
    )


def test_of_many_runs_the_table_has_each_networks_best_and_the_best_of_the_others(sweep):
    names = [row[0].strip("*").removesuffix("<br><small>not chosen</small>") for row in tables(sweep)[0][2:]]
    runs = [name for name in names if name.endswith(")") and not name.startswith("difference")]
    assert [name for name in runs if "my_net" not in name] == ["ResNet50 (lr99)", "VGG-16 (lr99)"]
    assert len(runs) == 40
    assert "ResNet50, published" in names
    assert "[metrics.csv](metrics.csv) has 260 more." in sweep


def test_of_many_runs_of_a_network_the_best_is_compared_with_the_published_row(sweep):
    names = [row[0] for row in tables(sweep)[0][2:]]
    assert names[:3] == ["**my_net (lr99)**", "ResNet50, published", "difference"]
    assert names[-4:-1] == ["**VGG-16 (lr99)**", "VGG-16, published", "difference"]
    assert names.count("difference") == 2


def test_of_many_experiments_the_best_on_validation_are_listed(sweep):
    rows = next(table for table in tables(sweep) if table[0][-1] == "Test acc. (%)" and "Seed" in table[0])[2:]
    assert len(rows) == 200
    assert [row[0] for row in rows if row[0] == "VGG-16"] == []
    assert "<summary>300 experiments on mnist: the 200 that are best on validation</summary>" in sweep
    assert "The other 100 are in [the list of all experiments](report.pages/index.md), with links" in sweep


def test_where_the_report_has_no_room_for_all_pages_a_page_links_them(sweep, tmp_path):
    folder = tmp_path / "results/report.pages"
    for kind, link in {"md": r"\[seed 0\]\(([^)]+)\)", "html": r'<a href="([^"]+)">seed 0</a>'}.items():
        assert f"report.pages/index.{kind}" in (tmp_path / f"results/report.{kind}").read_text()
        index = (folder / f"index.{kind}").read_text()
        pages = {folder / unquote(page) for page in re.findall(link, index)}
        assert pages == {*folder.rglob(f"seed0.{kind}")}
        assert len(pages) == 300
        assert f"../report.{kind}" in index
    [[_, _, first, *_]] = tables((folder / "index.md").read_text())
    assert first == ["VGG-16", "lr00", "[seed 0](mnist/vgg16/lr00/seed0.md)", "50.00", "50.00"]


def test_of_many_experiments_each_has_a_page_and_of_few_none(experiment, write_report, tmp_path):
    directories = [experiment(recipe=f"lr,lr={place}", seed=place % 3) for place in range(41)]
    for directory in directories:
        (directory / "figures").mkdir()
        for figure in ("learning_curves", "confusion_matrix"):
            (directory / f"figures/{figure}.png").touch()
    text = write_report(*directories)
    pages = [tmp_path / "results" / unquote(page) for page in re.findall(r"\[page\]\(([^)]+)\)", text)]
    assert [page.parts[-4:] for page in pages] == [(*each.parts[-4:-1], f"{each.name}.md") for each in directories]
    page = pages[7].read_text()
    assert page.startswith("# ResNet50 on digits, recipe lr, lr 7, seed 1\n")
    assert "Surest mistakes" in page
    links = re.findall(r"\]\(([^)]+)\)", page) + re.findall(r'src="([^"]+)"', page)
    assert len(links) == 1 + 3 + 2
    assert [link for link in links if not (pages[7].parent / unquote(link)).is_file()] == []
    folder = tmp_path / "results/report.pages"
    assert not list(folder.glob("index.*"))  # the report links all pages
    (folder / "index.md").touch()  # of an earlier, larger study
    write_report(*directories[:40])
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_page_of_html_leads_to_others_of_html(experiment, write_report, tmp_path):
    write_report(*(experiment(recipe=f"lr,lr={place}") for place in range(41)), suffix="-sweep")
    report = tmp_path / "results/report-sweep.html"
    links = re.findall(r'<a href="([^"#]+)">page</a>', report.read_text())
    pages = [(report.parent / unquote(link)).resolve() for link in links]
    assert len({page for page in pages if page.is_file() and page.suffix == ".html"}) == 41
    (back,) = re.findall(r'<a href="([^"]+)">The report</a>', pages[7].read_text())
    assert (pages[7].parent / back).resolve() == report


def test_many_recipes_and_training_runs_are_summarised(sweep):
    recipes = next(table for table in tables(sweep) if table[0][0] == "Recipe")
    assert len(recipes) == 2 + 100
    costs = next(table for table in tables(sweep) if "Training runs" in table[0])
    assert [[row[0], *row[2:4]] for row in costs[2:]] == [
        [name, "cpu, 2 threads, fp32", "100"] for name in ("my_net", "ResNet50", "VGG-16")
    ]
    assert [cell.replace("\xa0", " ") for cell in costs[2][4:7]] == ["5050", "1 h 40 min", "3 h 00 min"]


def test_rows_that_a_table_leaves_out_are_counted_with_their_place(experiment, write_report):
    directories = [experiment(model=f"net{index}", epochs=1) for index in range(203)]
    text = write_report(*directories)
    networks = next(table for table in tables(text) if table[0][1] == "Architecture")
    costs = next(table for table in tables(text) if "Training runs" in table[0])
    assert len(networks) == len(costs) == 2 + 200
    assert "leaves out 3 more; the metrics.json of each experiment has its network under" in text
    assert "leaves out 3 more; [metrics.csv](metrics.csv) has every training run." in text
    assert "leaves out" not in write_report(*directories[:200])
