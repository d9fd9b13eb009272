"""``slimyolo completion SHELL``: a script with which bash, zsh or fish complete commands, options and values.

The script is made from the same tables as the help screens. It contains all names, so pressing Tab does not start Python.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from slimyolo.cli.commands import COMMANDS, Command
from slimyolo.cli.completion_config import CompletionConfig
from slimyolo.cli.options import CommandOption, command_options

__all__ = ["SHELLS", "completion_script", "print_script"]

FOLDERS = ("FOLDER",)
FILES = ("FILE", "[FILE]", "YAML", "PATH", "SOURCE", "RECIPE")
EVERYWHERE = ("--help", "--help-all", "--quiet")


def print_script(config: CompletionConfig) -> None:
    """The task of ``slimyolo completion``: print the script on standard output."""
    print(completion_script(config.shell), end="")


def completion_script(shell: str) -> str:
    """The script for `shell`, a key of `SHELLS`."""
    return SHELLS[shell]()


def _options(command: Command) -> tuple[CommandOption, ...]:
    return command_options(command.settings)


def _names(command: Command) -> list[str]:
    return [name for option in _options(command) for name in option.spec.names] + list(EVERYWHERE)


def _places(command: Command) -> tuple[str, ...]:
    """The values that may stand without an option's name, where there is a list of them: ``completion bash``."""
    return next((option.choices for option in _options(command) if option.spec.positional), ())


def _summaries() -> dict[str, str]:
    """First word of a command → its summary. For commands of two words (``data check``) the second words are listed."""
    own = {command.name: command.summary for command in COMMANDS}
    return {first: own.get(first, ", ".join(seconds)) for first, seconds in _first_words().items()}


def _kind(option: CommandOption) -> str:
    """What follows an option: ``none``, ``folder``, ``file``, ``choice`` or ``word`` (a value that cannot be completed)."""
    if option.spec.arity == "flag":
        return "none"
    if option.choices:
        return "choice"
    if option.value_word in FOLDERS:
        return "folder"
    return "file" if option.value_word in FILES else "word"


def _first_words() -> dict[str, tuple[str, ...]]:
    """First word of a command → the second words that may follow it (none for commands of one word)."""
    words: dict[str, list[str]] = {}
    for command in COMMANDS:
        first, *rest = command.name.split()
        words.setdefault(first, []).extend(rest)
    return {first: tuple(rest) for first, rest in words.items()}


def _bash_branches() -> str:
    """The bash cases: for each command its options, and what follows each option that takes a value."""
    lines = []
    for command in COMMANDS:
        values = []
        for option in _options(command):
            if option.spec.arity == "flag":
                continue
            pattern = "|".join(option.spec.names)
            kind = _kind(option)
            words = shlex.quote(" ".join(option.choices)) if kind == "choice" else "''"
            values.append(f"        {pattern}) kind={kind} words={words} ;;")
        lines += [
            f"    {shlex.quote(command.name)})",
            f"      options={shlex.quote(' '.join(_names(command)))}",
            f"      places={shlex.quote(' '.join(_places(command)))}",
            '      case "$previous" in',
            *values,
            "      esac ;;",
        ]
    return "\n".join(lines)


def _bash() -> str:
    seconds = "\n".join(
        f"    {first}) seconds={shlex.quote(' '.join(rest))} ;;" for first, rest in _first_words().items() if rest
    )
    return f"""# bash completion of slimyolo. Install it once:
#   slimyolo completion bash > ~/.local/share/bash-completion/completions/slimyolo
# or in ~/.bashrc:  eval "$(slimyolo completion bash)"
_slimyolo() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  local command="${{COMP_WORDS[1]}}" seconds='' options='' places='' kind='' words=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W {shlex.quote(" ".join([*_first_words(), "--help", "--version"]))} -- "$current"))
    return
  fi
  case "$command" in
{seconds}
  esac
  if [ -n "$seconds" ]; then
    if [ "$COMP_CWORD" -eq 2 ]; then
      COMPREPLY=($(compgen -W "$seconds" -- "$current"))
      return
    fi
    command="$command ${{COMP_WORDS[2]}}"
  fi
  case "$command" in
{_bash_branches()}
  esac
  case "$kind" in
    choice) COMPREPLY=($(compgen -W "$words" -- "$current")); return ;;
    folder) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current")); return ;;
    file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")); return ;;
    word) return ;;
  esac
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [ -n "$places" ]; then
    COMPREPLY=($(compgen -W "$places" -- "$current"))
  else
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -F _slimyolo slimyolo
"""


def _zsh() -> str:
    def describe(pairs: Sequence[tuple[str, str]]) -> str:
        return " ".join(shlex.quote(f"{name}:{text.replace(':', ' -')}") for name, text in pairs)

    branches = []
    for command in COMMANDS:
        specs = [_zsh_spec(option) for option in _options(command)]
        specs += [shlex.quote(f"{name}[{text}]") for name, text in _GENERAL.items()]
        places = " ".join(_places(command))
        rest = f"*:value:({places})" if places else "*:file:_files"
        branches.append(f"    {shlex.quote(command.name)}) _arguments {' '.join(specs)} {shlex.quote(rest)} ;;")
    firsts = describe(list(_summaries().items()))
    seconds = "\n".join(f"    {first}) seconds=({' '.join(rest)}) ;;" for first, rest in _first_words().items() if rest)
    body = "\n".join(branches)
    return f"""#compdef slimyolo
# zsh completion of slimyolo. Install it once:  slimyolo completion zsh > "${{fpath[1]}}/_slimyolo"
_slimyolo() {{
  local -a firsts seconds
  firsts=({firsts})
  if (( CURRENT == 2 )); then
    _describe command firsts
    return
  fi
  local command="$words[2]"
  case "$command" in
{seconds}
  esac
  if (( $#seconds )); then
    if (( CURRENT == 3 )); then
      compadd -a seconds
      return
    fi
    command="$command $words[3]"
    shift words; (( CURRENT-- ))
  fi
  shift words; (( CURRENT-- ))
  case "$command" in
{body}
  esac
}}
if [ "$funcstack[1]" = _slimyolo ]; then _slimyolo "$@"; else compdef _slimyolo slimyolo; fi
"""


_GENERAL: Mapping[str, str] = {
    "--help": "show the common options",
    "--help-all": "show all options",
    "--quiet": "print warnings and errors only",
}


def _zsh_spec(option: CommandOption) -> str:
    kind = _kind(option)
    text = option.help.replace("[", "(").replace("]", ")").replace(":", " -")
    actions = {"file": ":file:_files", "folder": ":folder:_files -/", "word": ":value: "}
    value = f":value:({' '.join(option.choices)})" if kind == "choice" else actions.get(kind, "")
    if option.spec.arity == "maybe":
        value = f":{value}" if value else ""
    return " ".join(shlex.quote(f"{name}[{text}]{value}") for name in option.spec.names)


def _fish() -> str:
    lines = [
        "# fish completion of slimyolo. Install it once:",
        "#   slimyolo completion fish > ~/.config/fish/completions/slimyolo.fish",
        "complete -c slimyolo -e",
        "complete -c slimyolo -n __fish_use_subcommand -l version -d 'print the version'",
    ]
    summaries = {command.name: command.summary for command in COMMANDS}
    for first, seconds in _first_words().items():
        summary = _fish_text(_summaries()[first])
        lines.append(f"complete -c slimyolo -f -n __fish_use_subcommand -a {first} -d {summary}")
        for second in seconds:
            condition = f"__fish_seen_subcommand_from {first}; and not __fish_seen_subcommand_from {' '.join(seconds)}"
            lines.append(
                f"complete -c slimyolo -f -n {_fish_text(condition)} -a {second} "
                f"-d {_fish_text(summaries[f'{first} {second}'])}"
            )
    for command in COMMANDS:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.name.split())
        lines += [f"complete -c slimyolo -n {_fish_text(seen)} {_fish_option(option)}" for option in _options(command)]
        for name, text in _GENERAL.items():
            lines.append(f"complete -c slimyolo -n {_fish_text(seen)} -l {name[2:]} -d {_fish_text(text)}")
    return "\n".join(lines) + "\n"


def _fish_option(option: CommandOption) -> str:
    names = " ".join(f"-l {name[2:]}" for name in option.spec.names)
    kind = _kind(option)
    values = {
        "file": " -r -F",
        "folder": " -x -a '(__fish_complete_directories)'",
        "word": " -x",
        "choice": f" -x -a {_fish_text(' '.join(option.choices))}",
    }
    value = "" if option.spec.arity == "maybe" else values.get(kind, "")
    return f"{names}{value} -d {_fish_text(option.help)}"


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


SHELLS: Mapping[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
