"""``python -m slimyolo``."""

from slimyolo.cli.main import main

main()
