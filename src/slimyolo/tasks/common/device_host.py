"""``--device-host`` and the options beside it: the board on which networks are timed over ssh."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import option, parsed_by

__all__ = [
    "DeviceHost",
    "HostAddress",
    "device_folder_option",
    "device_host_of",
    "device_host_option",
    "device_python_option",
    "ssh_config_option",
]


@dataclass(frozen=True, kw_only=True)
class DeviceHost:
    """A board that ssh reaches.

    | field | content |
    |---|---|
    | `address` | user@host, or a name from the ssh configuration |
    | `python` | the Python there |
    | `folder` | the folder there in which a folder is made and removed; empty: the home folder |
    | `ssh_config` | an ssh configuration in place of ``~/.ssh/config`` |
    """

    address: str
    python: str = "python3"
    folder: str = ""
    ssh_config: Path | None = None


def check_address(value: Any) -> Any:
    """A host, or user@host, as ssh takes it: no option, no white space, no shell characters."""
    if value in (None, ""):
        return None
    text = str(value)
    if re.fullmatch(
        r"(?:[A-Za-z0-9_][\w.\-]*@)?[A-Za-z0-9_][\w.\-]*|(?:[A-Za-z0-9_][\w.\-]*@)?[0-9A-Fa-f:]+(?:%\w+)?", text
    ):
        return text
    raise ValueError(f"got {text!r}, expected user@host or a name from ~/.ssh/config (a port belongs there, too).")


HostAddress = Annotated[str, parsed_by(check_address)]


def device_host_option(group: str, *, rare: bool = False) -> Any:
    """The field for ``--device-host``."""
    return option(None, "board that times the networks, over ssh", group=group, metavar="USER@HOST", rare=rare)


def device_python_option(group: str) -> Any:
    """The field for ``--device-python``."""
    return option("python3", "Python on that board", group=group, metavar="PATH", rare=True)


def device_folder_option(group: str) -> Any:
    """The field for ``--device-folder``."""
    words = "folder on that board for the files, which are removed"
    return option("", words, group=group, metavar="FOLDER", shown_default="the home folder", rare=True)


def ssh_config_option(group: str) -> Any:
    """The field for ``--ssh-config``."""
    return option(None, "ssh configuration in place of ~/.ssh/config", group=group, metavar="FILE", rare=True)


def device_host_of(address: str | None, python: str, folder: str, ssh_config: Path | None) -> DeviceHost | None:
    """The board of these options; None without ``--device-host``. Raises `ConfigError` for options that belong to a board."""
    for name, text in (("--device-python", python), ("--device-folder", folder)):
        if not text.isprintable() or text.startswith("-"):
            raise ConfigError(f"{name}: got {text!r}, expected a path on the board.")
    if address is not None:
        return DeviceHost(address=address, python=python or "python3", folder=folder, ssh_config=ssh_config)
    for name, given in (
        ("--device-python", python != "python3"),
        ("--device-folder", folder != ""),
        ("--ssh-config", ssh_config is not None),
    ):
        if given:
            raise ConfigError(
                f"{name} is about the board of --device-host: add --device-host USER@HOST, or leave it out."
            )
    return None
