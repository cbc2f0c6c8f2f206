"""`klayer predict`: a stored network labels images or rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    from klayer.data import read_rows
    from klayer.study import Run

    stored = Run(run)
    model = stored.model(stored.best(arm, seed))
    about = stored.info["data"]
    shape = about["image_shape"]
    X, names = read_rows(
        files,
        n_features=about["n_features"],
        image_shape=tuple(shape) if shape else None,
        value_range=tuple(about["value_range"]),
        background=about.get("background", "white"),
    )
    probs = model.predict_probs(X)[0]
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
        from klayer.files import json_text

        typer.echo(json_text(rows, indent=1))
        return
    for row in rows:
        typer.echo(f"{row['input']}\t{row['class']}\t{row['probability']:.3f}")
