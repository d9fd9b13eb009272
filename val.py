"""Measure a checkpoint: takes the options of the reference project's val.py and runs `slimyolo val`. See --help."""

try:
    from slimyolo.cli.reference import run_script
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Install slimyolo first: pip install -r requirements.txt") from None

if __name__ == "__main__":
    run_script("val.py")
