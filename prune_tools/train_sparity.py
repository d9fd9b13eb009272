"""Train sparsely: takes the options of the reference's train_sparity.py and runs `slimyolo sparsify`. See --help."""

try:
    from slimyolo.cli.reference import run_script
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Install slimyolo first: pip install -r requirements.txt") from None

if __name__ == "__main__":
    run_script("prune_tools/train_sparity.py")
