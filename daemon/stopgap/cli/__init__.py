"""CLI: the command `stopgap`. Exit codes: 0 ok, 1 found problems or was refused, 2 usage or configuration error.

Nothing heavy is imported before a command needs it, so that `--help` is quick.
"""

import gc
from typing import Annotated

import typer

from stopgap.cli import (
    approvals,
    backtest,
    backup,
    brake,
    daemon,
    drill,
    explain,
    incidents,
    migrate,
    reference,
    report,
    rules,
    schema,
    settings,
    test,
)

app = typer.Typer(
    help="First responder to Prometheus alerts: bounded, verified, temporary mitigations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


def _version(wanted: bool) -> None:
    if wanted:
        from stopgap.release import release

        typer.echo(f"stopgap {release()}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which release this is.")
    ] = False,
) -> None:
    """First responder to Prometheus alerts: bounded, verified, temporary mitigations."""


app.command()(daemon.serve)
app.command()(rules.check)
app.command("test")(test.play)
app.command()(explain.explain)
app.command()(backtest.backtest)
app.command()(incidents.incidents)
app.command()(report.report)
app.command()(drill.drill)
app.command()(incidents.ack)
app.command()(approvals.approve)
app.command()(approvals.deny)
app.command()(incidents.revert)
app.command()(incidents.extend)
app.command()(incidents.close)
app.command()(incidents.done)
app.command()(incidents.retry)
app.command()(incidents.note)
app.command()(incidents.adopt)
app.add_typer(brake.app, name="brake")
app.command()(reference.actions)
app.command()(schema.schema)
app.command()(settings.settings)
app.command()(migrate.migrate)
app.command()(backup.backup)
app.command()(daemon.demo)


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    try:
        app(prog_name="stopgap")
    finally:
        gc.freeze()  # all goes with the process: nobody need look through it for cycles once more
