"""Parts of ``fuzz_files.py``."""
