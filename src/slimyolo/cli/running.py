"""Imports a command's task and runs it. No other module does this."""

from __future__ import annotations

import os
from contextlib import ExitStack
from importlib import import_module

from slimyolo.cli.commands import Command
from slimyolo.cli.waiting_threads import bound_spinning
from slimyolo.collection_pause import collection_paused
from slimyolo.errors import StorageError
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.prepared import prepared
from slimyolo.tasks.present_files import refuse_missing_files

__all__ = ["run_command"]


def run_command(command: Command, settings: Config) -> int:
    """Run the task of `command` with `settings`; returns the exit status. Raises what the task raises.

    `bench` leaves OpenMP as it is: it shows what the user's own program will see.
    """
    _refuse_deleted_folder()
    refuse_missing_files(settings)
    if command.name != "bench":
        bound_spinning()
    module, function = command.task
    with ExitStack() as held:
        with collection_paused():
            task = getattr(import_module(module), function)
            settings = held.enter_context(prepared(settings))
        return command.ending(settings, task(settings))


def _refuse_deleted_folder() -> None:
    """Raise `StorageError` when the working directory does not exist: torch would end the process with another message."""
    try:
        os.getcwd()
    except OSError:
        raise StorageError("The working directory was deleted. Go to a folder that exists (cd FOLDER) first.") from None
