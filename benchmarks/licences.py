"""Lists the licence of every package that slimyolo installs, and runs `pip check`. GPL and AGPL are forbidden at run time.

    python benchmarks/licences.py             # a Markdown table, from the metadata of the installed packages
    python benchmarks/licences.py --check     # the same, and exit status 1 when a licence is forbidden,
or when pip check complains about one of the packages

It follows the dependencies of the core and of every extra in pyproject.toml, except dev, which is for developers. It lists
packages that are not installed. It does not use the network.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
DEVELOPERS = ("dev",)

_FORBIDDEN = re.compile(r"(?<![A-Z])A?GPL|affero|(?<!lesser )general public licen[sc]e", re.IGNORECASE)
_ALLOWED = re.compile(
    r"LGPL|lesser general public|library general public|GCC-exception|GCC Runtime Library Exception", re.IGNORECASE
)
_ALTERNATIVE = re.compile(r"\bOR\b")


@dataclass(frozen=True)
class Package:
    """One installed package. `wanted_by` is the part of pyproject.toml that needs it; `direct` when it is named there."""

    name: str
    version: str
    licence: str
    wanted_by: str
    direct: bool

    @property
    def forbidden(self) -> bool:
        """Whether its only licence is GPL or AGPL. LGPL, and GPL with a linking exception, are allowed."""
        return is_forbidden(self.licence)


def is_forbidden(licence: str) -> bool:
    """Whether all alternatives of a licence expression are GPL or AGPL."""
    choices = _ALTERNATIVE.split(licence)
    return all(_FORBIDDEN.search(choice) and not _ALLOWED.search(choice) for choice in choices)


def licence_of(distribution: metadata.Distribution) -> str:
    """The licence: the SPDX expression, else the trove classifiers, else the first line of the licence field."""
    about = distribution.metadata
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License ::")
    ]
    classifiers = [line for line in classifiers if line != "OSI Approved"]
    if classifiers:
        return ", ".join(classifiers)
    field = str(about.get("License") or "").strip().splitlines()
    return field[0].strip() if field and len(field[0]) < 100 else "not stated"


def packages() -> tuple[list[Package], list[str]]:
    """Every installed package that the core or an extra needs, and the direct dependencies that are not installed."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    parts = {"core": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, Package] = {}
    absent = []
    for part, lines in parts.items():
        if part in DEVELOPERS:
            continue
        waiting = [(Requirement(line), True) for line in lines]
        while waiting:
            wanted, direct = waiting.pop(0)
            name = re.sub(r"[-_.]+", "-", wanted.name).lower()
            if name in found or (wanted.marker is not None and not _applies(wanted)):
                continue
            try:
                distribution = metadata.distribution(wanted.name)
            except metadata.PackageNotFoundError:
                if direct:
                    absent.append(f"{wanted.name} ({part})")
                continue
            found[name] = Package(name, distribution.version, licence_of(distribution), part, direct)
            waiting += [(Requirement(line), False) for line in distribution.requires or ()]
    return list(found.values()), absent


def _applies(wanted: Requirement) -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": ""})


def table(rows: list[Package]) -> str:
    """A Markdown table of part, package, version and licence."""
    order = sorted(rows, key=lambda row: (row.wanted_by != "core", row.wanted_by, not row.direct, row.name))
    lines = [
        f"| {row.wanted_by} | {row.name}{'' if row.direct else ' (indirect)'} | {row.version} | {row.licence} |"
        for row in order
    ]
    return "\n".join(["| part | package | version | licence |", "|---|---|---|---|", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 for a forbidden licence, or when pip check complains"
    )
    options = parser.parse_args()
    rows, absent = packages()
    print(table(rows))
    if absent:
        print(f"\nNot installed, so not checked: {', '.join(absent)}.")
    forbidden = [row for row in rows if row.forbidden]
    for row in forbidden:
        print(f"forbidden: {row.name} {row.version}: {row.licence}", file=sys.stderr)
    pip = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    ours = {row.name for row in rows}
    complaints = [line for line in pip.stdout.splitlines() if pip.returncode and line.split(" ")[0].lower() in ours]
    print(f"\npip check, of these packages: {'; '.join(complaints) or 'no problems'}.")
    return 1 if options.check and (forbidden or complaints) else 0


if __name__ == "__main__":
    raise SystemExit(main())
