"""Files: atomic writes, run folders, records as JSON, YAML within limits, and safe reading of foreign checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.storage.atomic import atomic_file, atomic_folder, remove_leftovers, write_bytes, write_text
    from slimyolo.storage.foreign_pickle import ForeignClass, ForeignObject, read_foreign_pickle
    from slimyolo.storage.kept_files import KeptFiles, user_cache_folder
    from slimyolo.storage.own_files import is_own_file, remember_own_file
    from slimyolo.storage.plain_text import decode_text
    from slimyolo.storage.plain_yaml import compose_yaml, parse_yaml, read_yaml, read_yaml_text, scalar_value
    from slimyolo.storage.record_values import RecordValue, open_record
    from slimyolo.storage.records import read_json, read_table, to_plain, write_json
    from slimyolo.storage.run_folders import create_run_folder, latest_run_folder, remove_earlier_files
    from slimyolo.storage.run_lock import LOCK_FILE, only_run_in
    from slimyolo.storage.temporary import temporary_folder
    from slimyolo.storage.user_files import (
        FileRole,
        UnsuitableFileError,
        check_user_file,
        in_home,
        open_user_file,
        read_user_file,
    )

__all__ = [
    "LOCK_FILE",
    "FileRole",
    "ForeignClass",
    "ForeignObject",
    "KeptFiles",
    "RecordValue",
    "UnsuitableFileError",
    "atomic_file",
    "atomic_folder",
    "check_user_file",
    "compose_yaml",
    "create_run_folder",
    "decode_text",
    "in_home",
    "is_own_file",
    "latest_run_folder",
    "only_run_in",
    "open_record",
    "open_user_file",
    "parse_yaml",
    "read_foreign_pickle",
    "read_json",
    "read_table",
    "read_user_file",
    "read_yaml",
    "read_yaml_text",
    "remember_own_file",
    "remove_earlier_files",
    "remove_leftovers",
    "scalar_value",
    "temporary_folder",
    "to_plain",
    "user_cache_folder",
    "write_bytes",
    "write_json",
    "write_text",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.storage.atomic": "atomic_file atomic_folder remove_leftovers write_bytes write_text",
        "slimyolo.storage.foreign_pickle": "ForeignClass ForeignObject read_foreign_pickle",
        "slimyolo.storage.kept_files": "KeptFiles user_cache_folder",
        "slimyolo.storage.own_files": "is_own_file remember_own_file",
        "slimyolo.storage.plain_text": "decode_text",
        "slimyolo.storage.plain_yaml": "compose_yaml parse_yaml read_yaml read_yaml_text scalar_value",
        "slimyolo.storage.record_values": "RecordValue open_record",
        "slimyolo.storage.records": "read_json read_table to_plain write_json",
        "slimyolo.storage.run_folders": "create_run_folder latest_run_folder remove_earlier_files",
        "slimyolo.storage.run_lock": "LOCK_FILE only_run_in",
        "slimyolo.storage.temporary": "temporary_folder",
        "slimyolo.storage.user_files": (
            "FileRole UnsuitableFileError check_user_file in_home open_user_file read_user_file"
        ),
    },
)
