"""The model card: what was exported, of what data, how good it is, how it was made, how it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from klayer.data.rawness import FAR
from klayer.data.standardiser import farthest
from klayer.export.exported import Exported
from klayer.export.formats import Format
from klayer.export.snippets import snippets
from klayer.export.verify import Verified
from klayer.printable import printable
from klayer.train import SETTINGS, Settings
from klayer.train.metrics import METRICS

__all__ = ["card"]

_SHOWN = 20
_MANY = 100


def card(what: Exported, form: Format, file: str, verified: Verified) -> str:
    """Return a model card in Markdown.

    Parameters
    ----------
    what : Exported
    form : Format
    file : str
        What the exported file is called.
    verified : Verified
    """
    parts = [
        _head(what),
        _data(what),
        _scores(what),
        _networks(what),
        _settings(what),
        _versions(what),
        _file(what, form, file, verified),
        _use(what, form, file),
    ]
    return "\n\n".join("\n".join(part) for part in map(list, parts) if part) + "\n"


def text_of(value: object) -> str:
    """Write anything as text that Markdown doesn't act on.

    Examples
    --------
    >>> print(text_of("a|b <i> `c`"))
    a\\|b \\<i\\> \\`c\\`
    """
    return "".join(f"\\{one}" if one in r"\`*_{}[]<>|#~&" else one for one in printable(value))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(text_of(one) for one in row)} |"


def _head(what: Exported) -> Iterator[str]:
    n, network = len(what.ensemble.weights), what.first.network
    name = _about(what, "data").get("name")
    yield f"# {text_of(name) if name else 'A model'}: {what.task}"
    yield ""
    many = "One fully connected network" if n == 1 else f"The mean of {n} fully connected networks"
    widths = dict.fromkeys("-".join(map(str, model.network.widths)) for model in what.models)
    columns = f"{network.n_features:,} numbers"
    if what.encoder is not None:
        columns = f"{len(what.encoder.codes)} columns of a table, {columns} inside"
    answers = {
        "classification": "classes",
        "regression": "targets, in their own units",
        "multilabel": "labels, any of them at once",
    }[what.task]
    shown = ", ".join(map(text_of, what.labels[:_SHOWN]))
    more = f", ... ({len(what.labels)} in all)" if len(what.labels) > _SHOWN else ""
    yield f"{many} ({', '.join(widths)}), made with klayer."
    yield ""
    yield f"- Input: {columns}, raw: standardised by the model itself."
    yield f"- Output: {network.n_classes:,} {answers}: {shown}{more}."
    if network.quantiles:
        yield f"- Of each its quantiles {', '.join(f'{one:g}' for one in network.quantiles)}."


def _about(what: Exported, part: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = what.about.get(part) or {}
    return found


def _data(what: Exported) -> Iterator[str]:
    data = _about(what, "data")
    yield "## Data"
    yield ""
    if not data:
        yield "Nothing was said of the data."
        return
    rows: list[tuple[str, object]] = [("name", data.get("name", "-"))]
    if data.get("source"):
        rows.append(("source", data["source"]))
    for split, count in (data.get("samples") or {}).items():
        rows.append((f"rows, {split}", f"{count:,}"))
    if data.get("image_shape"):
        rows.append(("images", " x ".join(map(str, data["image_shape"]))))
    for part, digest in (data.get("fingerprint") or {}).items():
        rows.append((f"fingerprint, {part}", digest))
    yield from _table(("data", ""), rows)
    if what.encoder is not None:
        yield ""
        yield "Columns, and how each becomes numbers:"
        yield ""
        yield from _table(
            ("column", "kind", "numbers", "levels", "where missing"),
            [
                (
                    code.name,
                    code.kind,
                    len(code.feature_names),
                    _levels(code.levels) + (", others" if code.other else ""),
                    "refused"
                    if code.fill is None
                    else ("none of the levels" if code.levels else f"{code.fill:.6g}"),
                )
                for code in what.encoder.codes[:_MANY]
            ],
        )
        if len(what.encoder.codes) > _MANY:
            yield f"| ... ({len(what.encoder.codes):,} in all) | | | | |"


def _levels(levels: Sequence[str]) -> str:
    shown = ", ".join(levels[:_SHOWN])
    return f"{shown}, ... ({len(levels)} in all)" if len(levels) > _SHOWN else shown


def _number(value: Any, metric: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if metric in METRICS and METRICS[metric].share else f"{value:.5g}"


def _scores(what: Exported) -> Iterator[str]:
    scores = what.about.get("scores") or []
    yield "## Scores"
    yield ""
    if not scores:
        yield "No scores were measured."
        return
    n = len(what.ensemble.weights)
    this = "this network" if n == 1 else f"these {n} networks together"
    head = [
        "split",
        "score",
        *([this] if any(one.get("value") is not None for one in scores) else []),
    ]
    head += ["mean ± standard deviation", "n"]
    rows = []
    for one in scores:
        own = [_number(one.get("value"), one["score"])] if len(head) == 5 else []
        spread = _number(one["mean"], one["score"])
        if one.get("sd") is not None:
            spread += f" ± {_number(one['sd'], one['score'])}"
        rows.append([one["split"], one["score"], *own, spread, one["n"]])
    yield from _table(head, rows)
    yield ""
    yield (
        "n networks that differ in their seeds, or all of those here; the standard deviation is between "
        "networks."
    )
    if what.about.get("diverged"):
        yield f"Besides, {what.about['diverged']} diverged: not counted here, and without an answer."
    if "chosen_by" in what.about:
        yield (
            f"This one is the run's best by its {what.about['chosen_by']} score, which flatters it for "
            "that reason: go by the test split."
        )


def _networks(what: Exported) -> Iterator[str]:
    networks = what.about.get("networks") or []
    if not networks:
        return
    yield "## Networks"
    yield ""
    named = any(one.get("arm") for one in networks)
    scores = list(dict.fromkeys(name for one in networks for name in one.get("scores", {})))
    weights = what.ensemble.weights.tolist()
    heats = [float(heat) for model in what.models for heat in model.temperatures]
    calibrated = set(heats) != {1.0}
    rows = [
        [
            *([one.get("arm", "")] if named else []),
            one.get("seed", "-"),
            f"{weight:.4g}",
            *([f"{heat:.4g}"] if calibrated else []),
            *(_number(one.get("scores", {}).get(name)) for name in scores),
        ]
        for one, weight, heat in zip(networks, weights, heats, strict=False)
    ]
    head = [
        *(["arm"] if named else []),
        "seed",
        "counts",
        *(["temperature"] if calibrated else []),
        *map(text_of, scores),
    ]
    yield from _table(head, rows[:_MANY])
    if len(rows) > _MANY:
        yield f"| ... ({len(rows):,} in all) |{' |' * (len(head) - 1)}"


def _settings(what: Exported) -> Iterator[str]:
    settings = [one["settings"] for one in what.about.get("networks") or [] if "settings" in one]
    if not settings:
        return
    defaults = Settings().as_dict()
    yield "## Settings"
    yield ""
    rows = []
    for name in settings[0]:
        values = list(dict.fromkeys(_setting(one.get(name)) for one in settings))
        if values == [_setting(defaults.get(name))] and name in SETTINGS:
            continue
        rows.append((name, "; ".join(values[:_SHOWN])))
    yield from _table(("setting", "value"), rows)
    yield ""
    yield "All others are at their defaults."


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _versions(what: Exported) -> Iterator[str]:
    versions = _about(what, "versions")
    if versions:
        yield "## Versions"
        yield ""
        made = ", ".join(f"{text_of(name)} {text_of(one)}" for name, one in versions.items())
        created = what.about.get("created")
        yield f"Trained with {made}{f', {text_of(created)}' if created else ''}."


def _file(what: Exported, form: Format, file: str, verified: Verified) -> Iterator[str]:
    yield "## The file"
    yield ""
    where = f"`{file}`" if form.file else "a folder of tables"
    yield f"{form.name}, {where}: {form.words}."
    yield ""
    unit = (
        "of a target, in its standard deviations"
        if what.task == "regression"
        else "of a probability"
    )
    yield (
        f"Before it was written it was asked about {verified.rows:,} {text_of(verified.what)}: its "
        f"answers are those of the networks, the largest difference {unit} is "
        f"{verified.shown} (allowed: {verified.tolerance:g})."
    )
    yield ""
    yield (
        "Its answers are worth what the scores say for rows like those of training, and nothing for "
        "others."
    )
    yield ""
    limit = farthest(next(iter(what.first.params.values())).dtype)
    yield (
        "Of rows far outside the training data klayer itself (`klayer predict` of a run or a "
        f"safetensors file, `kl.load_model`) warns: where they lie more than {FAR:g} of its standard "
        f"deviations from its mean, as rows in other units do. Numbers more than {limit:g} of them away "
        "it refuses. Whatever else calculates with this file, a runtime of ONNX too, says nothing of it "
        "and answers as to any row."
    )


def _use(what: Exported, form: Format, file: str) -> Iterator[str]:
    yield "## Use"
    for name, program in snippets(what, form.name, file).items():
        yield ""
        yield f"With {name}:"
        yield ""
        yield "```python"
        yield program.rstrip("\n")
        yield "```"
    if form.name != "onnx":
        yield ""
        yield 'For onnxruntime: `klayer export RUN --to onnx`, or `export("model.onnx")` in Python.'
