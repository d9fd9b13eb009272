"""The reference project's export.py, served by slimyolo: write a checkpoint in another format. Options: --help."""

try:
    from slimyolo.cli.reference import run_script
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Install slimyolo first: pip install -r requirements.txt") from None

if __name__ == "__main__":
    run_script("export.py")
