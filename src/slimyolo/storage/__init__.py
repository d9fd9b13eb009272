"""Files: atomic writes, run folders, records as JSON, YAML within limits, and safe reading of foreign checkpoints."""

from slimyolo.storage.atomic import atomic_file, atomic_folder, remove_leftovers, write_bytes, write_text
from slimyolo.storage.foreign_pickle import ForeignClass, ForeignObject, read_foreign_pickle
from slimyolo.storage.plain_text import decode_text
from slimyolo.storage.plain_yaml import compose_yaml, parse_yaml, read_yaml, read_yaml_text, scalar_value
from slimyolo.storage.records import read_json, to_plain, write_json
from slimyolo.storage.run_folders import create_run_folder, latest_run_folder, remove_earlier_files
from slimyolo.storage.run_lock import LOCK_FILE, only_run_in

__all__ = [
    "LOCK_FILE",
    "ForeignClass",
    "ForeignObject",
    "atomic_file",
    "atomic_folder",
    "compose_yaml",
    "create_run_folder",
    "decode_text",
    "latest_run_folder",
    "only_run_in",
    "parse_yaml",
    "read_foreign_pickle",
    "read_json",
    "read_yaml",
    "read_yaml_text",
    "remove_earlier_files",
    "remove_leftovers",
    "scalar_value",
    "to_plain",
    "write_bytes",
    "write_json",
    "write_text",
]
