"""Command line: one module a command.

Exit codes: 0 done; 1 something failed on the way (the message says what); 2 the input is wrong (the message names the
option and its range); 130 stopped by Ctrl-C with a checkpoint.
"""

import typer

from wecolora.cli.distill import distill
from wecolora.cli.inspect import inspect_command
from wecolora.cli.probe import probe
from wecolora.cli.report import report_command
from wecolora.cli.sweep import sweep_command

_HELP = """Distil a vision transformer (or a ResNet) into a student of a fraction of its depth, on unlabelled images.

Exit codes: 0 done, 1 failed on the way, 2 wrong input (the option and its range are named), 130 stopped by Ctrl-C with
a checkpoint.
"""
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_HELP)
app.command()(distill)
app.command()(probe)
app.command(name="inspect")(inspect_command)
app.command(name="report")(report_command)
app.command(name="sweep")(sweep_command)


def main() -> None:
    """Entry point."""
    app()
