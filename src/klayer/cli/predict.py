"""`klayer predict`: a stored network labels images or rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.errors import KlayerError

if TYPE_CHECKING:
    from klayer.study import Run

__all__ = ["predict"]


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES...", help="Images, or rows in .npy, .npz or .csv files."),
    ],
    seed: Annotated[
        int | None,
        typer.Option(
            help="The network with this seed. \\[default: the best by validation accuracy]"
        ),
    ] = None,
    arm: Annotated[
        str | None, typer.Option(help="The arm it belongs to, in a study of several.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all probabilities as JSON.")
    ] = False,
) -> None:
    """Label images or rows with a stored network: class and probability, a line each.

    Example: klayer predict runs/mine cat.png dog.png
    """
    from klayer.data import read_inputs
    from klayer.study import Run

    stored = Run(run)
    model = stored.model(_choose(stored, arm, seed))
    about = stored.info["data"]
    shape = about["image_shape"]
    X, names = read_inputs(
        files,
        features=about["features"],
        image_shape=tuple(shape) if shape else None,
        value_range=tuple(about["value_range"]),
    )
    probs = model.probs(X)
    rows = [
        {
            "input": name,
            "class": model.class_names[row.argmax()],
            "probability": float(row.max()),
            "probabilities": dict(zip(model.class_names, map(float, row), strict=True)),
        }
        for name, row in zip(names, probs, strict=True)
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        typer.echo(f"{row['input']}\t{row['class']}\t{row['probability']:.3f}")


def _choose(run: Run, arm: str | None, seed: int | None) -> dict[str, Any]:
    """Return the best network among those with this arm and seed."""
    if arm is None and seed is None:
        return run.best()
    found = [
        record
        for record in run.networks
        if arm in (None, record["arm"])
        and seed in (None, record["seed"])
        and record["validation_accuracy"] is not None
    ]
    if not found:
        arms = ", ".join(dict.fromkeys(repr(record["arm"]) for record in run.networks))
        seeds = ", ".join(str(s) for s in dict.fromkeys(record["seed"] for record in run.networks))
        raise KlayerError(
            f"no finished network of {run.path} has arm={arm!r} and seed={seed}. "
            f"Arms: {arms}. Seeds: {seeds}."
        )
    return max(found, key=lambda record: record["validation_accuracy"])
