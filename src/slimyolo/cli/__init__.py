"""The command line: the ``slimyolo`` command (`cli.main`) and the reference project's scripts (`cli.reference`)."""

from slimyolo.cli.main import make_settings, run_command_line, run_safely

__all__ = ["make_settings", "run_command_line", "run_safely"]
