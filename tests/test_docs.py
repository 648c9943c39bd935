"""The documentation: what it tells a reader to type works, what it names exists, and its links lead somewhere."""

import importlib.util
import itertools
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from beadsmith.check import Check
from beadsmith.cli import app
from beadsmith.config.describe import build_json_schema
from beadsmith.config.load import load_config
from beadsmith.config.settings import RunSettings
from beadsmith.config.templates import write_template
from beadsmith.io.records import read_json
from beadsmith.pipeline.standalone import read_simulation_settings
from beadsmith.sampling.interactions import build_interactions
from beadsmith.sampling.residues import OPLS_AA, read_residues
from beadsmith.study.definition import read_study
from small_run import SMALL_YAML, finished_run  # noqa: F401

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials"]
OTHER_PAGES = [page for page in PAGES if page not in TUTORIALS]
CHECK_FAILED = 3
MAY_FAIL_A_CHECK = ' || echo "exit code $?"'
FILE_ENDINGS = ("json", "csv", "h5", "checkpoint", "html", "yaml")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    caption: str | None
    text: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def read_blocks(page):
    """Return the fenced blocks of a page in order."""
    blocks, lines, number = [], page.read_text().splitlines(), 0
    while number < len(lines):
        fence = re.fullmatch(r"(`{3,})(?:\{([\w-]+)\}\s*)?([\w-]*).*", lines[number])
        number += 1
        if fence is None:
            continue
        end = lines.index(fence[1], number)
        caption, body = None, lines[number:end]
        while body and (option := re.fullmatch(r":(\w+): (.*)", body[0])):
            caption, body = option[2] if option[1] == "caption" else caption, body[1:]
        language = fence[3] if fence[2] in (None, "code-block") else fence[2]
        blocks.append(Block(page, number, language, caption, "\n".join(body).lstrip("\n") + "\n"))
        number = end + 1
    return blocks


def read_inline_code(page):
    """Return the texts between single backticks outside of blocks."""
    prose = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose)]


def blocks_of(*languages, pages=PAGES):
    return [block for page in pages for block in read_blocks(page) if block.language in languages]


def read_commands(page):
    """Return every command of beadsmith that a page shows, in blocks and in running text."""
    lines = [
        line.removeprefix("$ ") if block.language == "console" else line
        for block in read_blocks(page)
        if block.language in ("console", "bash")
        for line in block.text.splitlines()
        if block.language == "bash" or line.startswith("$ ")
    ]
    lines = [line.removeprefix("srun ") for line in lines] + read_inline_code(page)
    return [line.removesuffix(MAY_FAIL_A_CHECK) for line in lines if line.startswith("beadsmith ")]


def list_keys():
    """Return the dotted names of all keys of the configuration, sections included, as the reference shows them."""
    return set(walk_keys("", build_json_schema(RunSettings, "")))


def walk_keys(prefix, schema):
    for option in schema.get("anyOf", [schema]):
        for key, entry in option.get("properties", {}).items():
            yield f"{prefix}{key}"
            yield from walk_keys(f"{prefix}{key}.", entry)
        if "items" in option:
            yield from walk_keys(f"{prefix.removesuffix('.')}: - ", option["items"])


@pytest.fixture
def template(tmp_path):
    """Return the file that ``beadsmith init liquid`` writes."""
    path = tmp_path / "template.yaml"
    path.write_text(write_template("liquid")[1])
    return path


def name_of(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_exists_and_takes_its_options(page):
    commands = get_command(app).commands
    for line in read_commands(page):
        words = shlex.split(line, comments=True)[1:]
        if words[0].startswith("--") or words[0].isupper() or "--help" in words:
            continue
        assert words[0] in commands, line
        # parses the arguments and does nothing
        command = commands[words[0]]
        if words[1:] or not any(parameter.required for parameter in command.params):
            command.make_context(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_override_can_be_set(page, template):
    for text in [*read_commands(page), *(code for code in read_inline_code(page) if code.startswith("--set "))]:
        words = shlex.split(text, comments=True)
        is_free = "force_field" in text and "simulate" in words
        for option, value in itertools.pairwise(words):
            if option == "--set" and value != "KEY=VALUE":
                value = value.replace("$SLURM_ARRAY_TASK_ID", "300")
                read_simulation_settings([value]) if is_free else load_config(template, [value])


def drop_empty(section):
    """Return a section without the sections in it, at any depth, that have no key."""
    return {
        key: drop_empty(value) if isinstance(value, dict) else value
        for key, value in section.items()
        if value is not None
    }


@pytest.mark.parametrize("block", blocks_of("yaml"), ids=str)
def test_every_yaml_is_valid(block, template, tmp_path, monkeypatch):
    found = yaml.safe_load(block.text)
    if "base" in found:
        monkeypatch.chdir(ROOT)
        (tmp_path / "study.yaml").write_text(block.text)
        assert read_study(tmp_path / "study.yaml").runs
        return
    if not ({"name", "state"} <= found.keys() and found.keys() & {"system", "reference"}):
        # a fragment: the rest is as in the template; sections in which all is commented out are empty there
        found = drop_empty(yaml.safe_load(template.read_text())) | found
    path = tmp_path / "block.yaml"
    path.write_text(yaml.safe_dump(found))
    load_config(path)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_key_in_the_text_exists(page):
    keys = list_keys()
    leaves = {re.split(r"\.|: - ", key)[-1] for key in keys}
    sections = "|".join(key for key in keys if "." not in key)
    for code in read_inline_code(page):
        dotted = re.match(rf"({sections})\.(\w+)\b", code)
        if dotted and dotted[2] not in FILE_ENDINGS:
            assert dotted[0] in keys, code
        if pair := re.fullmatch(r"([a-z_]+): .+", code):
            # a page may show a misspelt key to say what happens
            assert pair[1] in leaves or pair[1] == "temprature", code


def find_anchors(page):
    """Return the anchors of the headings of a page, generated ones included."""
    text = load_generator().fill_markers(page.read_text())
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def load_generator():
    path = DOCS / "_extensions" / "generated_pages.py"
    spec = importlib.util.spec_from_file_location("generated_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_internal_link_leads_somewhere(page):
    prose = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in find_anchors(found), target


def test_every_page_is_in_the_table_of_contents():
    listed = {line for block in blocks_of("toctree", pages=[DOCS / "index.md"]) for line in block.text.splitlines()}
    for page in PAGES[1:]:
        name = page.relative_to(DOCS).with_suffix("").as_posix()
        assert name in listed or name == "index" or name.startswith("decisions/0"), name


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        texts = [*read_inline_code(page), *(block.text for block in read_blocks(page) if block.language == "bash")]
        for text in texts:
            assert set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) <= targets, (page.name, text)


def test_the_reference_of_the_configuration_names_every_key():
    page = load_generator().fill_markers((DOCS / "reference" / "configuration.md").read_text())
    for key in list_keys():
        section, _, path = key.partition(".")
        rows = page.partition(f"\n## {section if path else 'top level'}\n")[2].partition("\n## ")[0]
        assert f"| `{path or key}` |" in rows or f"\n## {key}\n" in page, key


def test_the_reference_of_the_commands_names_every_option():
    page = load_generator().fill_markers((DOCS / "reference" / "cli.md").read_text())
    for name, command in get_command(app).commands.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            assert (parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]) in section, (
                name
            )


def test_the_how_to_names_every_molecule():
    page = (DOCS / "how-to" / "your-own-liquid.md").read_text()
    assert all(f"`{name}`" in page for name in read_residues())


def test_every_check_of_a_run_is_explained(finished_run):  # noqa: F811
    page = (DOCS / "how-to" / "read-the-report.md").read_text()
    checks = [Check(**entry) for entry in read_json(finished_run / "run" / "checks.json")["checks"]]
    assert [check.name for check in checks if f"| {check.name} |" not in page] == []


def test_every_file_of_a_run_is_explained(finished_run):  # noqa: F811
    page = (DOCS / "reference" / "files.md").read_text()
    assert [path.name for path in (finished_run / "run").iterdir() if f"`{path.name}" not in page] == []


def test_the_residue_of_the_how_to_is_all_that_a_new_molecule_needs(tmp_path):
    (block,) = blocks_of("xml", pages=[DOCS / "how-to" / "your-own-liquid.md"])
    path = tmp_path / "oplsaa.xml"
    path.write_text(OPLS_AA.read_text().replace("</Residues>", block.text + "</Residues>"))
    system = build_interactions(("ethane",), edge=None, cutoff=1.0, ewald_tolerance=5e-4, force_field=path)
    assert system.getNumParticles() == 8


def run_command(line, folder):
    """Run one command as a shell would; beadsmith in this process, which saves importing everything again."""
    command = line.removesuffix(MAY_FAIL_A_CHECK)
    words = shlex.split(command)
    if words[0] != "beadsmith":
        subprocess.run(command, shell=True, cwd=folder, check=True, timeout=60)
        return
    result = CliRunner().invoke(app, words[1:])
    allowed = {0, CHECK_FAILED} if command != line else {0}
    assert result.exit_code in allowed, f"$ {line}\n{result.output}"


def follow(page, folder):
    """Do what a page says, from top to bottom, in a folder."""
    names = {"__name__": "__main__"}
    for block in read_blocks(page):
        if block.caption is not None:
            (folder / block.caption).write_text(block.text)
        elif block.language == "console":
            for line in block.text.splitlines():
                if line.startswith("$ "):
                    run_command(line.removeprefix("$ "), folder)
        elif block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_a_tutorial_can_be_followed_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow(page, tmp_path)


@pytest.mark.parametrize("block", blocks_of("python", pages=OTHER_PAGES), ids=str)
def test_python_on_a_page_runs(block, finished_run, tmp_path, monkeypatch):  # noqa: F811
    shutil.copytree(finished_run / "run", tmp_path / "runs" / "methanol")
    (tmp_path / "methanol.yaml").write_text(shorten(SMALL_YAML))
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})


def shorten(text):
    """Return a configuration with a fifth of the work."""
    settings = yaml.safe_load(text)
    settings["sampling"].update(equilibration="0.5 ps", duration="2.5 ps", checkpoint_interval="0.5 ps")
    settings["training"].update(epochs=1)
    settings["simulation"].update(duration="1 ps")
    settings["evaluation"].update(discard="0 ps")
    return yaml.safe_dump(settings)
