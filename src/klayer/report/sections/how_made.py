"""How a run was made: data, settings, versions, machine, time, and the command to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from klayer.report.run_view import SPLITS, RunView
from klayer.report.sections.section import Material, Part, block

__all__ = ["build", "toml"]


def build(material: Material) -> list[Part]:
    """Give the facts, the command and the configuration."""
    view = material.view
    blocks = [
        block("facts", pairs=_facts(view)),
        block("heading", level=3, text="Make it again"),
        block("code", text=_command(view), label="Command"),
        block("details", summary="The resolved configuration", code=toml(view)),
    ]
    return [Part(blocks)]


def _duration(seconds: float | None) -> str:
    """Write a time.

    Examples
    --------
    >>> _duration(0.4), _duration(75), _duration(7260)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def _bytes(n: int | None) -> str:
    return "–" if n is None else f"{n / 2**30:.1f} GiB"


def _facts(view: RunView) -> list[tuple[str, str]]:
    """Return what a reader who wants to repeat the run should know, as pairs of name and value."""
    info = view.info
    data, machine = info["data"], info["machine"]
    sizes = data["samples"]
    what = {"classification": "class", "multilabel": "label"}.get(view.task, "target")
    ends = "es" if what == "class" else "s"
    named = len(data["class_names"])
    shape = f"{data['n_features']} features, {named} {what}{ends * (named != 1)}"
    if data["image_shape"]:
        shape += f", images of {' × '.join(map(str, data['image_shape']))}"
    parts = ", ".join(f"{sizes[split]:,} {split}" for split in SPLITS if sizes.get(split))
    found = [
        ("Data", f"{data['name']}: {data['source']}" if data["source"] else data["name"]),
        ("Samples", f"{parts}; {shape}"),
        *[("About the data", "; ".join(data["notes"]))] * bool(data.get("notes")),
        *_settings(view),
    ]  # fmt: skip
    seeds = sorted({record.seed for record in view.records})
    if seeds:
        found.append(("Seeds", ", ".join(map(str, seeds))))
    found += _costs(view)
    found += [
        ("Machine", f"{machine['cpu']}, {machine['cores']} cores, {_bytes(machine['memory_bytes'])} "
                    f"memory; {machine['system']}"),
        *_workers(info.get("workers", [])),
        ("BLAS", ", ".join(machine.get("blas") or ["–"])),
        ("Versions", ", ".join(f"{name} {v}" for name, v in info["versions"].items())),
        ("Begun", info["created"].replace("T", " ")),
    ]  # fmt: skip
    return found


def _workers(workers: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the machines that trained, if they are of several kinds: then bits differ among them."""
    if len(workers) < 2:
        return []
    kinds = [
        f"{one['cpu']} ({', '.join([*one['blas'], 'NumPy ' + str(one.get('numpy'))])})"
        for one in workers
    ]
    return [("Trained by", f"{'; '.join(kinds)}: the same numbers to rounding")]


def _settings(view: RunView) -> list[tuple[str, str]]:
    """Return the settings that all networks share."""
    everyone = [record.settings.as_dict() for record in view.networks]
    shared = {
        key: value
        for key, value in (everyone[0] if everyone else {}).items()
        if all(one[key] == value for one in everyone)
    }
    found = []
    if shared.keys() >= {"schedule", "lr_min", "lr_max", "half_cycle", "cycles"}:
        rate = (
            "{schedule}, {lr_min:g} to {lr_max:g}, half a cycle {half_cycle}, {cycles:g} cycles"
            if shared["schedule"] != "constant"
            else "constant, {lr_max:g}"
        )
        found.append(("Learning rate", rate.format(**shared)))
    if "batch_size" in shared:
        found.append(("Mini-batch", f"{shared['batch_size']} samples, reshuffled every epoch"))
    if "l2" in shared:
        found.append(("Penalty", f"λ = {shared['l2']:g}, in loss + λ Σ ‖W‖²"))
    if "dtype" in shared:
        found.append(("Precision", shared["dtype"]))
    if "curve_samples" in shared:
        most = min(shared["curve_samples"], view.info["data"]["samples"]["train"])
        curves = f"on up to {most:,} samples a split; final accuracies on whole splits"
        found.append(("Curves", curves))
    return found


def _costs(view: RunView) -> list[tuple[str, str]]:
    summary, n = view.summary, len(view.networks)
    if not summary:
        seconds = sum(record.seconds for record in view.networks)
        return [("Training time so far", _duration(seconds))]
    found = [("Wall time", _duration(summary.get("seconds")))]
    lost = [
        f"{one['arm']}, seed {one['seed']} ({one['reason']})" for one in summary.get("lost", [])
    ]
    found += [("Not trained", "; ".join(lost))] * bool(lost)
    own = summary.get("network_seconds")
    if own and n:
        found.append(("Training", f"{n} networks in {_duration(own)}, {own / n:.2g} s each"))
    found.append(("Peak memory", _bytes(summary.get("peak_memory_bytes"))))
    return found


def _command(view: RunView) -> str:
    """Return the command that makes the run again."""
    words = view.info.get("command")
    if words:
        return shlex.join(words)
    return "klayer study study.toml  # with the configuration below as study.toml"


def toml(view: RunView) -> str:
    """Return the resolved configuration as a TOML file that ``klayer study`` takes."""
    config = {
        key: value for key, value in view.info["config"].items() if value not in (None, {}, [])
    }
    lines: list[str] = []
    _table(config, (), lines)
    return "\n".join(lines).strip() + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    """Write plain values first, then tables, as TOML wants it."""
    tables, arrays = {}, {}
    for key, value in values.items():
        if isinstance(value, dict):
            tables[key] = value
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            arrays[key] = value
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in tables.items():
        if value:
            lines += ["", f"[{'.'.join(map(_key, (*path, key)))}]"]
            _table(value, (*path, key), lines)
    for key, many in arrays.items():
        for value in many:
            lines += ["", f"[[{'.'.join(map(_key, (*path, key)))}]]"]
            _table(value, (*path, key), lines)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
