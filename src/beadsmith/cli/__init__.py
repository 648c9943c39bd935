"""The command line: from a molecule's name to a validated coarse-grained force field."""

import os

import typer

from beadsmith import __version__
from beadsmith.cli import diagnose, files, import_, run, simulate, study, tools

app = typer.Typer(
    name="beadsmith",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 2 bad input, 3 a check of the physics failed, 4 interrupted (the same command resumes).",
)

_BEGIN, _STAGES, _USE = "Begin here", "One stage at a time", "Use and inspect"

app.command("init", rich_help_panel=_BEGIN)(files.init)
app.command("check", rich_help_panel=_BEGIN)(tools.check)
app.command("run", rich_help_panel=_BEGIN)(run.run)
app.command("sample", rich_help_panel=_STAGES)(run.sample)
app.command("import", rich_help_panel=_STAGES)(import_.import_)
app.command("map", rich_help_panel=_STAGES)(run.map_)
app.command("diagnose", rich_help_panel=_STAGES)(diagnose.diagnose)
app.command("average", rich_help_panel=_STAGES)(run.average)
app.command("train", rich_help_panel=_STAGES)(run.train)
app.command("simulate", rich_help_panel=_STAGES)(simulate.simulate)
app.command("evaluate", rich_help_panel=_STAGES)(run.evaluate)
app.command("report", rich_help_panel=_STAGES)(run.report)
app.command("study", rich_help_panel=_USE)(study.study)
app.command("export", rich_help_panel=_USE)(files.export)
app.command("schema", rich_help_panel=_USE)(files.schema)
app.command("doctor", rich_help_panel=_USE)(tools.doctor)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"beadsmith {__version__}")
        raise typer.Exit


@app.callback()
def describe(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """From a molecule's name to a machine-learned coarse-grained force field that can be trusted.

    First steps: 'beadsmith init liquid' writes methanol.yaml, 'beadsmith check methanol.yaml' says what it will cost,
    'beadsmith run methanol.yaml' does everything and ends in a report with a table of checks.
    """


def main() -> None:
    """Run the command line."""
    # threads that wait by spinning make a force call 80 times slower as soon as anything else wants a core
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
