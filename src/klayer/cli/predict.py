"""`klayer predict`: a stored network answers for images, or for the rows of files."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.complete import complete_runs
from klayer.cli.echo import echo
from klayer.cli.options import DataDir
from klayer.errors import KlayerError
from klayer.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["predict"]

_ENDINGS = {".csv": ",", ".tsv": "\t"}


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A run directory, or what `klayer export` wrote (.safetensors, .onnx).",
            autocompletion=complete_runs,
        ),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...",
            help="Images, tables (.csv, .parquet, ...), or rows in .npy or .npz.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a .csv, .tsv or .json with all probabilities."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="The network with this seed. \\[default: the best by validation accuracy]"
        ),
    ] = None,
    arm: Annotated[
        str | None, typer.Option(help="The arm it belongs to, in a study of several.")
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="All networks together, by the mean of what they say; of --arm or --seed those alone.",
        ),
    ] = False,
    greedy: Annotated[
        bool,
        typer.Option(
            "--greedy",
            help="With --ensemble: those whose mean is best on the validation split, chosen greedily.",
        ),
    ] = False,
    snapshots: Annotated[
        bool,
        typer.Option(
            "--snapshots",
            help="With --ensemble: the networks as they were at the ends of cycles, too.",
        ),
    ] = False,
    mirror: Annotated[
        bool,
        typer.Option("--mirror", help="Of images: the mean of the answers to both mirror images."),
    ] = False,
    data_dir: DataDir = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print all probabilities as JSON: a list of rows; of an ensemble it is under `rows`.",
        ),
    ] = False,
) -> None:
    """Ask a stored network about images or rows: class and probability, or numbers, a line each.

    What was trained from a table reads tables with the same columns, in any order; others may be there.

    Example: klayer predict runs/mine cat.png dog.png

    Example: klayer predict runs/houses new.csv --out predictions.csv

    Example: klayer predict runs/mine cat.png --ensemble --greedy --mirror

    Example: klayer predict mine/model.onnx new.csv
    """
    from klayer.data import read_rows
    from klayer.files import json_text, write_csv, write_text
    from klayer.study.run_folder import refuse_own

    if out is not None and out.suffix.lower() not in (*_ENDINGS, ".json"):
        raise KlayerError(f"--out must end in .csv, .tsv or .json, but got {out}.")
    if out is not None and not out.parent.is_dir():
        raise KlayerError(f"--out: {out} can't be written: there is no folder {out.parent}.")
    if out is not None and any(one.resolve() == out.resolve() for one in files):
        raise KlayerError(f"--out: {out} would replace a file to be read: name another.")
    if out is not None:
        refuse_own(out)
    for flag, given in (("--greedy", greedy), ("--snapshots", snapshots)):
        if given and not ensemble:
            raise KlayerError(
                f"`{flag}` is about networks that answer together: give --ensemble too."
            )
    said = {"arm": arm, "seed": seed, "ensemble": ensemble, "snapshots": snapshots}
    asked, about = _asked(run, {**said, "mirror": mirror, "greedy": greedy, "data_dir": data_dir})
    shape, background = about.get("image_shape"), about.get("background", "white")
    if shape:
        for note in _unlike(files, tuple(shape), background):
            echo(f"{note}.", err=True)
    X, names = read_rows(
        files,
        n_features=about["n_features"],
        image_shape=tuple(shape) if shape else None,
        value_range=tuple(about.get("value_range", (0.0, 255.0))),
        encoder=asked.encoder,
        background=background,
    )
    with warnings.catch_warnings(record=True) as hints:
        warnings.simplefilter("always")
        values = asked.predict(X)
        values = values[0] if values.ndim == 3 else values  # of one network, or the mean of several
    for hint in dict.fromkeys(str(one.message) for one in hints):
        echo(hint, err=True)

    def told() -> Any:
        rows = _records(asked, names, values)
        if not ensemble:
            return rows
        left_out = [asdict(one) for one in asked.left_out]
        return {"ensemble": {"networks": len(asked), "left_out": left_out}, "rows": rows}

    if out is not None:
        if out.suffix.lower() == ".json":
            write_text(out, json_text(told(), indent=1) + "\n")
        else:
            head, rows = _table(asked, names, values)
            write_csv(out, head, rows, _ENDINGS[out.suffix.lower()])
        echo(f"{out}: {len(names):,} rows", err=as_json)
    if as_json:
        echo(json_text(told(), indent=1))
    elif out is None:
        for line in _lines(asked, names, values):
            echo(line)


def _asked(run: Path, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return who answers, and what is known of the data."""
    from klayer.export.load import is_exported, loaded
    from klayer.study import Run

    if is_exported(run):
        for option, value in options.items():
            if value is not None and value is not False:
                how = "with `klayer export RUN --network NAME`"
                if option in ("greedy", "snapshots", "mirror"):
                    how = f"in Python, by `kl.export_model(run.ensemble({option}=True), PATH)`"
                raise KlayerError(
                    f"--{option.replace('_', '-')} is about the networks of a run, but {run} is an "
                    f"exported file, which answers as it was exported: choose them {how}."
                )
        return loaded(run)
    stored, arm, seed = Run(run), options["arm"], options["seed"]
    together = options.pop("ensemble")
    records = None if together else [stored.best(arm, seed)]
    asked = stored.ensemble(records, **options)
    if together:
        echo(f"{asked!r}.", err=True)
    return asked, stored.info["data"]


def _unlike(files: Sequence[Path], shape: tuple[int, int, int], background: str) -> list[str]:
    """Say how images differ from those of training, and what is done about it."""
    from klayer.data.image_files import ENDINGS, conversions, probe, unlike_shape

    headers = [probe(path) for path in files if path.suffix.lower() in ENDINGS]
    return [*unlike_shape(headers, shape), *conversions(headers, background)] if headers else []


def _records(model: Any, names: Sequence[str], values: NDArray[Any]) -> list[dict[str, Any]]:
    """What JSON says of each row."""
    found = []
    for name, row in zip(names, values, strict=True):
        each = dict(zip(model.output_names, map(float, row), strict=True))
        one: dict[str, Any] = {"input": name}
        if model.task == "classification":
            one["class"] = model.class_names[row.argmax()]
            one["probability"] = float(row.max())
            one["probabilities"] = each
        elif model.task == "multilabel":
            one["labels"] = [label for label, probability in each.items() if probability > 0.5]
            one["probabilities"] = each
        else:
            one["values"] = each
        found.append(one)
    return found


def _table(
    model: Any, names: Sequence[str], values: NDArray[Any]
) -> tuple[list[str], list[list[object]]]:
    """What a file of predictions says: a line for each row that was read."""
    outputs = model.output_names
    if model.task == "regression":
        head = (
            ["prediction"] if len(outputs) == 1 else [f"prediction of {name}" for name in outputs]
        )
        return ["input", *head], [
            [name, *row] for name, row in zip(names, values.tolist(), strict=True)
        ]
    probabilities = [f"probability of {name}" for name in outputs]
    rows: list[list[object]] = []
    if model.task == "multilabel":
        for name, row in zip(names, values.tolist(), strict=True):
            rows.append([name, *(int(one > 0.5) for one in row), *row])
        return ["input", *outputs, *probabilities], rows
    best = values.argmax(axis=-1).tolist()
    for name, index, row in zip(names, best, values.tolist(), strict=True):
        rows.append([name, outputs[index], row[index], *row])
    return ["input", "prediction", "probability", *probabilities], rows


def _lines(model: Any, names: Sequence[str], values: NDArray[Any]) -> list[str]:
    """What the terminal shows of each row."""
    lines = []
    for one in _records(model, names, values):
        if model.task == "classification":
            answer = f"{printable(one['class'])}\t{one['probability']:.3f}"
        elif model.task == "multilabel":
            answer = printable(", ".join(one["labels"])) or "none"
        else:
            answer = "\t".join(f"{value:.6g}" for value in one["values"].values())
        lines.append(f"{printable(one['input'])}\t{answer}")
    return lines
