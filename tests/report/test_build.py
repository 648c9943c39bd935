"""The report without a browser: one file, nothing from outside, all figures, valid JSON, and no crash without parts."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from beadsmith.errors import InputError
from beadsmith.report.build import build_report
from beadsmith.report.figures.style import plotly_library
from example_run import write_run

FIGURES = {
    "rdf-bead-bead",
    "adf-bead-bead-bead",
    "series",
    "displacement",
    "training",
    "noise-floor",
    "pair-bead-bead",
    "beads",
}


class Page(HTMLParser):
    """Collects what a test asks about a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.embedded, self.text = [], [], {}, []
        self._open = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        if "id" in values:
            self.ids.append(values["id"])
        self._open = values["id"] if values.get("type") == "application/json" else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            self.embedded[self._open] = data
        self.text.append(data)


def without_library(html):
    """Return the page without the text of plotly."""
    library = plotly_library()
    assert html.count(library) == 1
    return html.replace(library, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "synthetic")


@pytest.fixture(scope="module")
def html(folder):
    return build_report(folder).read_text(encoding="utf-8")


@pytest.fixture
def copy(folder, tmp_path):
    """Return a copy of the run folder that a test may spoil."""
    return shutil.copytree(folder, tmp_path / "copy")


def rebuild(folder):
    return Page(without_library(build_report(folder).read_text(encoding="utf-8")))


def test_nothing_is_loaded_from_outside_the_file(html):
    rest = without_library(html)
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest", rest)
    for tag, attributes in Page(rest).tags:
        assert tag not in ("link", "iframe", "img", "object", "embed")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    policy = next(a["content"] for t, a in Page(rest).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_all_figures_are_there_with_data_labels_and_units(html):
    page = Page(without_library(html))
    assert {name.removeprefix("data-") for name in page.embedded} == FIGURES
    for name, text in page.embedded.items():
        figure = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
        assert figure["data"], name
        place = next(a for _, a in page.tags if a.get("id") == name.replace("data-", "plot-"))
        assert place["role"] == "img"
        assert len(place["aria-label"]) > 60
        axes = {key: axis for key, axis in figure["layout"].items() if re.fullmatch(r"[xy]axis\d*", key)}
        titles = [axis["title"]["text"] for axis in axes.values() if axis.get("title", {}).get("text")]
        for title in titles:
            assert "[" in title or title in ("g(r)", "Δg(r)", "density (mean 1)") or "/" in title or "epoch" in title
        assert len(titles) >= 2 or name == "data-beads"


def test_identifiers_are_unique_and_links_have_targets(html):
    page = Page(without_library(html))
    assert len(set(page.ids)) == len(page.ids)
    targets = {a["href"][1:] for _, a in page.tags if "href" in a}
    assert targets
    assert targets <= set(page.ids)


def test_every_check_stands_on_the_page_with_its_status(html, folder):
    text = " ".join(Page(without_library(html)).text)
    checks = json.loads((folder / "checks.json").read_text())["checks"]
    assert len(checks) > 10
    for check in checks:
        assert check["name"] in text
        assert check["meaning"] in text


def test_reference_and_pair_spline_stand_beside_the_network_with_error_bands(html):
    figure = json.loads(Page(without_library(html)).embedded["data-rdf-bead-bead"])
    names = [trace["name"] for trace in figure["data"] if "name" in trace and trace.get("showlegend", True)]
    assert names == ["atomistic reference", "network", "pair spline"]
    # three bands above; below, the reference's own error and one band for each simulation
    assert sum(trace.get("fill") == "toself" for trace in figure["data"]) == 6


def test_numbers_that_a_reader_needs_are_in_the_text(html):
    text = " ".join(Page(without_library(html)).text).replace("\u00a0", " ").replace("\u202f", " ")
    for piece in (
        "thousands of bar off",
        "noise floor, upper bound",
        "23.9 ± 0.4 %",
        "1 500 ± 90 (kJ/mol/nm)² of noise",
        "900 frames/s",
        "15 000 sites/s",
        "85 steps/s",
        "beadsmith run synthetic.yaml",
        "abababababab",
    ):
        assert piece in text, piece


def test_text_from_files_cannot_become_markup(copy):
    record = json.loads((copy / "record.json").read_text())
    record["name"] = "<script>alert(1)</script>"
    (copy / "record.json").write_text(json.dumps(record))
    html = build_report(copy).read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_type_names_cannot_close_the_embedded_data(tmp_path):
    folder = write_run(tmp_path / "run", type_names=("a</script><b>",))
    page = rebuild(folder)
    assert ("b", {}) not in page.tags
    assert "a</script><b>" in json.dumps(json.loads(page.embedded["data-beads"]))


def test_a_mixture_has_a_figure_for_every_kind(tmp_path):
    folder = write_run(tmp_path / "run", types=[0] * 40 + [1] * 24, type_names=("methanol", "benzene"))
    page = rebuild(folder)
    for kind in ("methanol-methanol", "methanol-benzene", "benzene-benzene"):
        assert f"data-rdf-{kind}" in page.embedded
        assert f"data-pair-{kind}" in page.embedded


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (["evaluation.json", "checks.json"], "has not been evaluated"),
        (["checks.json"], "There is no checks.json"),
        (["training.json", "training.csv"], "Nothing was trained in this run folder."),
        (["mapped.h5"], "There is no mapped trajectory in this run folder."),
        (["force_field", "pair_spline"], "There is no force field in this run folder."),
        (["record.json"], "There is no record.json"),
        (["reference.h5"], "no atomistic run of ours"),
        (["mapped.h5", "simulation.h5", "pair_spline.h5"], "There are no frames to show."),
    ],
)
def test_missing_parts_become_a_sentence(copy, missing, sentence):
    for name in missing:
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert sentence in " ".join(" ".join(rebuild(copy).text).split())


def test_a_run_without_a_network_is_a_report_on_the_pair_spline(copy):
    shutil.rmtree(copy / "force_field")
    shutil.move(copy / "pair_spline", copy / "force_field")
    shutil.move(copy / "pair_spline.h5", copy / "simulation.h5")
    evaluation = json.loads((copy / "evaluation.json").read_text())
    for part in ("systems", "comparisons"):
        del evaluation[part]["network"]
    (copy / "evaluation.json").write_text(json.dumps(evaluation))
    training = json.loads((copy / "training.json").read_text())
    for part in ("losses", "explained_variance"):
        training[part] = {name: entry for name, entry in training[part].items() if name not in ("network", "prior")}
    training |= {"network": None, "noise_floor": None, "improvement": None, "gap": None}
    (copy / "training.json").write_text(json.dumps(training))
    (copy / "training.csv").unlink()
    page = rebuild(copy)
    text = " ".join(page.text)
    assert "No network was trained: the pair spline is the force field." in text
    assert "The pair spline explains" in text
    assert "pair spline simulation" in text
    assert "data-training" not in page.embedded


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no result"):
        build_report(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        build_report(tmp_path / "nowhere")


def test_a_damaged_log_is_named(copy):
    (copy / "training.csv").write_text("epoch,train_loss\n1,abc\n")
    with pytest.raises(InputError, match=r"training\.csv"):
        build_report(copy)
