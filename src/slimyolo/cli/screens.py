"""The help screens: plain text, with bold headings on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from slimyolo.cli.commands import COMMANDS, Command
from slimyolo.cli.options import CommandOption, command_options

__all__ = ["command_screen", "family_screen", "heading", "overview_screen", "two_columns"]

WIDTH = min(max(shutil.get_terminal_size((110, 24)).columns, 80), 110)
NAME_WIDTH = 33  # beside a longer name, an explanation would not have enough room in 80 columns
SHORT_NAME_WIDTH = 26
FIRST_GROUPS = ("What to train", "Sparsity")


def overview_screen(version: str) -> str:
    """The screen of ``slimyolo --help``."""
    lines = [f"slimyolo {version}: make a YOLO detector smaller and faster", "", heading("Commands")]
    lines += two_columns([(command.name, command.summary) for command in COMMANDS], 14)
    lines += [
        "",
        heading("Examples"),
        *_example("slimyolo data synth datasets/synthetic    # an example dataset to start with"),
        *_example("slimyolo compress --data data/mask.yaml --weights yolov5n.pt --percent 0.4"),
        "",
        *textwrap.wrap(
            "`slimyolo COMMAND --help` shows common options and examples; --help-all shows all options. With --quiet only "
            "warnings and errors are printed. The scripts of the reference project (train.py, …) are in the repository.",
            WIDTH,
            break_long_words=False,
            break_on_hyphens=False,
        ),
    ]
    return "\n".join(lines)


def family_screen(word: str) -> str:
    """The screen of ``slimyolo data --help``: the commands whose first word is `word`, with an example of each."""
    commands = [command for command in COMMANDS if command.name.startswith(f"{word} ")]
    return "\n".join(
        (
            heading(f"Commands of slimyolo {word}"),
            *two_columns([(command.name, command.summary) for command in commands], 14),
            heading("Examples"),
            *(line for command in commands for line in _example(command.examples[0])),
            f"slimyolo {commands[0].name} --help shows the options of one.",
        )
    )


def command_screen(command: Command, *, everything: bool = False) -> str:
    """The screen of ``slimyolo COMMAND --help``: usage, the common options by group, and examples.

    With `everything` (``--help-all``) it shows the rare options too.
    """
    options = command_options(command.settings)
    required = " ".join(_usage(option) for option in options if option.required)
    required = f"RECIPE | {required}" if any(option.value_word == "RECIPE" for option in options) else required
    lines = [f"slimyolo {command.name}: {command.summary}", ""]
    lines += [f"{heading('Usage')} slimyolo {command.name} {required} [options]".replace("  ", " ")]
    shown = [option for option in options if everything or not option.rare]
    rows = {option.spec.key: _row(option, every_name=everything) for option in shown}
    widest = NAME_WIDTH if everything else SHORT_NAME_WIDTH
    name_width = max((len(name) for name, _ in rows.values() if len(name) <= widest), default=0)
    groups = dict.fromkeys(option.group for option in shown)
    for group in sorted(groups, key=lambda group: group not in FIRST_GROUPS):  # the others keep their order
        lines.append(heading(group))
        lines += two_columns([rows[option.spec.key] for option in shown if option.group == group], name_width)
    if everything:
        lines.append(heading("Every command"))
        lines += two_columns([("--quiet, -q", "print warnings and errors only")], max(name_width, 11))
    lines.append(heading("Examples" if len(command.examples) > 1 else "Example"))
    lines += [line for example in command.examples for line in _example(example)]
    if len(shown) < len(options):
        lines.append(f"{len(options) - len(shown)} more options: slimyolo {command.name} --help-all")
    return "\n".join(lines)


def _example(text: str) -> list[str]:
    """An example. One that is too long for the screen is split into several lines with backslashes."""
    if len(text) + 2 <= WIDTH:
        return [f"  {text}"]
    command, _, comment = text.partition(" # ")
    lines = [f"  # {comment.strip()}"] if comment else []
    first, *rest = command.strip().split(" --")
    line = f"  {first}"
    for part in rest:
        if len(line) + len(part) + 5 > WIDTH:
            lines.append(f"{line} \\")
            line = f"      --{part}"
        else:
            line += f" --{part}"
    return [*lines, line]


def heading(text: str) -> str:
    """`text:` in bold on a terminal that wants colours, plain elsewhere."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return f"\x1b[1m{text}:\x1b[0m"
    return f"{text}:"


def two_columns(rows: Sequence[tuple[str, str]], name_width: int) -> list[str]:
    """Rows of name and explanation. The explanation is wrapped beside the name; a long name has a line of its own."""
    lines = []
    for name, explanation in rows:
        first, *rest = textwrap.wrap(explanation, WIDTH - name_width - 3, break_long_words=False) or [""]
        if len(name) > name_width:
            lines.append(f"  {name}")
            lines.append(f"  {'':{name_width}} {first}".rstrip())
        else:
            lines.append(f"  {name:{name_width}} {first}".rstrip())
        lines += [f"  {'':{name_width}} {line}" for line in rest]
    return lines


def _usage(option: CommandOption) -> str:
    if option.spec.positional:
        return option.value_word
    nameless = option.spec.by_place or option.spec.by_suffix
    name = f"[{option.spec.names[0]}]" if nameless else option.spec.names[0]
    return f"{name} {option.value_word}"


def _row(option: CommandOption, *, every_name: bool) -> tuple[str, str]:
    names = ", ".join(option.spec.names if every_name else option.spec.names[:1])
    name = option.value_word if option.spec.positional else f"{names} {option.value_word}".rstrip()
    note = f" [{option.default}]" if option.default else " (required)" if option.required else ""
    return name, option.help + note
