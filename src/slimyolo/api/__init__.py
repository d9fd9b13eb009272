"""The Python API, which ``import slimyolo`` offers as ``slimyolo.NAME``. A name imports its module when it is first used.

| module | functions |
|---|---|
| `in_memory` | take and return detectors, pictures and metrics; they write nothing |
| `commands` | one for each command, with the same settings, by keyword; they write the run folder of the command |
| `other_names` | what to type for a name that only other packages have |
| `either` | `predict`, `prune` and `compare`, which are both |
"""

from __future__ import annotations

__all__: list[str] = []
