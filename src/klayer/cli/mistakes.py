"""What is said about a command line that can't be read: the rule, the value, the next step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from klayer.errors import broken_rule, unknown_name

__all__ = ["UsageError", "told"]

# What the parser of the command line raises; Typer exports one kind of it alone.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


def told(error: Any) -> str:
    """Return the message for a mistake on the command line."""
    context = error.ctx
    command = context.command_path if context else "klayer"
    kind = type(error).__name__
    if kind == "NoSuchOption":
        message = _unknown_option(error.option_name, context)
    elif kind == "MissingParameter":
        message = f"{_name(error.param)} must be given, but isn't."
    elif kind == "BadParameter" and error.param is not None:
        message = _bad_value(error)
    elif str(error.message).startswith("No such command"):
        wrong = str(error.message).partition("'")[2].partition("'")[0]
        meant = _meant(wrong, context)
        message = str(unknown_name("command", wrong, context.command.commands, meant))
    elif kind == "BadOptionUsage":
        lacks = "requires" in str(error.message)
        rule = "must be given a value" if lacks else "takes no value"
        message = f"`{error.option_name}` {rule}."
    elif str(error.message).startswith("Got unexpected extra argument"):
        words = str(error.message).partition("(")[2].partition("(")[2].rstrip(")")
        data = any("--data" in one.opts for one in context.command.get_params(context))
        hint = f": did you mean --data {words}?" if data else "."
        message = f"`{words}` is one argument too many{hint}"
    else:
        message = str(error.format_message()).rstrip(".") + "."
    return f"{message} `{command} --help` shows what there is."


def _meant(wrong: str, context: Any) -> str | None:
    """Say the command that a word is of another group, or the argument of what lists."""
    commands = context.command.commands
    for name, one in commands.items():
        if wrong in getattr(one, "commands", ()):
            return f"did you mean `{context.command_path} {name} {wrong}`?"
    takes = [one.param_type_name for one in getattr(commands.get("list"), "params", ())]
    if "argument" in takes and Path(wrong).exists():
        return f"did you mean `{context.command_path} list {wrong}`?"
    return None


def _name(parameter: Any) -> str:
    """Name an option by its flag, an argument by what stands for it in the help."""
    flags = [flag for flag in parameter.opts if flag.startswith("-")]
    return f"`{flags[0] if flags else parameter.metavar or parameter.name.upper()}`"


def _unknown_option(flag: str, context: Any) -> str:
    """Say which option was meant: alike, or what others call it; with its value, if that matters."""
    own: dict[str, list[str]] = {
        parameter.name: [one for one in parameter.opts if one.startswith("--")]
        for parameter in context.command.get_params(context)
        if not getattr(parameter, "hidden", False)
    }
    flags = [one for several in own.values() for one in several]
    if "half_cycle" not in own:
        return str(unknown_name("option", flag, flags))
    from klayer.train.other_names import unknown_setting
    from klayer.train.settings import SETTINGS

    message = str(unknown_setting(flag, _value_of(flag), SETTINGS, kind="option", as_flags=True))
    if "did you mean" in message or "so for" in message:
        return message.partition(" Known:")[0]
    message = str(unknown_name("option", flag, flags)).partition(" Known:")[0]
    return message.rstrip(":") + ("" if message.endswith("?") else ".")


def _value_of(flag: str) -> str | None:
    """Return what stands behind a flag on this command line."""
    for word, following in zip(sys.argv, [*sys.argv[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name == flag:
            return value if equals else following
    return None


def _bad_value(error: Any) -> str:
    """Say what a value must be in words, where the parser found it to be of another kind."""
    cause = error.__cause__
    name, message = _name(error.param), str(error.message)
    if hasattr(cause, "errors"):
        return f"{name} {broken_rule(cause)}."
    return f"{name} {message}" if message.startswith("must be ") else f"{name}: {message}"
