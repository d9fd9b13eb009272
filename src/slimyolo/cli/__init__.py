"""The command line: the ``slimyolo`` command and the reference project's scripts."""

from slimyolo.cli.main import main, run_command_line

__all__ = ["main", "run_command_line"]
