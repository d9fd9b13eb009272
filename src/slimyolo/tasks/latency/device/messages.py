"""What a board that cannot be reached, or lacks something, is asked and what its user is told."""

from __future__ import annotations

import re
from collections.abc import Mapping

from slimyolo.tasks.common.device_host import DeviceHost

__all__ = ["PROBE", "PROBE_MARK", "disk_advice", "ssh_failure"]

PROBE_MARK = "slimyolo-board:"

PROBE = """
import sys
facts = {"python": list(sys.version_info[:2]), "folder": True, "writable": True, "free": 0, "modules": {}}
import json, os
if sys.version_info >= (3, 8):
    import importlib.util, shutil
    base = os.path.expanduser(sys.argv[1])
    facts["folder"], facts["writable"] = os.path.isdir(base), os.access(base, os.W_OK)
    facts["free"] = shutil.disk_usage(base).free if facts["folder"] else 0
    facts["modules"] = dict((name, importlib.util.find_spec(name) is not None) for name in sys.argv[2:])
print("MARK" + json.dumps(facts))
""".replace("MARK", PROBE_MARK)
"""Run by the board's Python with: folder, module …"""

FAILURES: Mapping[str, str] = {
    r"REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "the key of {address} is not the one that this machine knows: it is another board, or somebody is in between. If you "
        "installed it anew, remove the old key: ssh-keygen -R {host}"
    ),
    r"Host key verification failed|No .* host key is known": (
        "this machine does not know the key of {address}. Connect once by hand, compare the key, and accept it: ssh {address}"
    ),
    r"Permission denied|Too many authentication failures": (
        "{address} lets nobody in without a password. Give it your key once: ssh-copy-id {address} (a key with a passphrase "
        "also needs ssh-agent)"
    ),
    r"Could not resolve hostname|Name or service not known": (
        "there is no host {host}: check the name, or use its IP address"
    ),
    r"Connection refused": "{address} has no ssh server, or it listens on another port: start it there (sshd)",
    r"No route to host|Network is unreachable": (
        "{address} cannot be reached: is it switched on, and in this network?"
    ),
    r"[Bb]ad configuration option|Can't open user config file|Bad owner or permissions": (
        "the ssh configuration cannot be used ({line})"
    ),
}
"""Pattern in what ssh says → what to do, for failures that stay."""


DISKS: Mapping[str, str] = {
    r"No space left on device|Disk quota exceeded": "Free some space there, or name another folder: --device-folder FOLDER.",
    r"Read-only file system": "Name a folder there that can be written to: --device-folder FOLDER.",
}
"""Pattern in what a command on the board says → what to do."""


def disk_advice(said: str) -> str:
    """A space and what to do about the disk of the board that `said` complains of; nothing when it is about something else."""
    return next((f" {advice}" for pattern, advice in DISKS.items() if re.search(pattern, said)), "")


def ssh_failure(errors: str, host: DeviceHost) -> str | None:
    """The message for a failure of ssh that stays; None for one that may pass (a timeout, a lost connection)."""
    for pattern, advice in FAILURES.items():
        found = re.search(f".*(?:{pattern}).*", errors)
        if found is not None:
            text = advice.format(address=host.address, host=host.address.rpartition("@")[2], line=found[0].strip())
            return f"--device-host: {text}."
    return None
