"""`klayer data`: list, inspect, download and picture the data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.complete import complete_data
from klayer.cli.echo import echo
from klayer.cli.help import HelpedCommand, HelpedGroup
from klayer.cli.options import DataCommand, said
from klayer.cli.output import terminal_width

if TYPE_CHECKING:
    from klayer.data import Dataset
    from klayer.data.tables.overview import ColumnOverview
    from klayer.shown import ShownTable

app = typer.Typer(
    cls=HelpedGroup,
    name="data",
    help="List, inspect, download and picture data sets.\n\nExample: klayer data info digits",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="cifar10, fashion_mnist, digits, synthetic[:OPTIONS], a table (.csv, .parquet, ...), a "
        ".npz file, an image folder.",
        autocompletion=complete_data,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Look here and nowhere else; by default in $KLAYER_DATA and the user's cache folder.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _print(*parts: str | ShownTable) -> None:
    """Print lines as they are, never wrapped, and tables fitted to the terminal."""
    from klayer.shown import to_text

    for part in parts:
        if isinstance(part, str):
            echo(part)
        else:
            echo(f"\n{to_text([part], '', terminal_width())}\n")


@app.command("list", cls=HelpedCommand)
def list_sources(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the sources, and where their data are.

    Example: klayer data list
    """
    from klayer.data import available

    sources = available(data_dir)
    if as_json:
        from klayer.files import json_text

        echo(json_text([source.as_dict() for source in sources], indent=2))
        return
    for source in sources:
        lines = [source.description]
        if source.sizes is not None:
            sizes = " / ".join(f"{size:,}" for size in source.sizes)
            lines.append(f"{source.shape}, {source.n_classes} classes, {sizes} samples")
        typer.secho(source.name, bold=True)
        for line in lines:
            echo(f"  {line}")
        typer.secho(f"  {source.found or 'not found'}", fg="green" if source.found else "yellow")
    _print(
        "",
        "samples: train / validation / test",
        "`klayer data fetch NAME` downloads what can be, or says where to get it.",
    )


@app.command(cls=DataCommand)
def info(ctx: typer.Context, name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Load a data set, check it, and print columns, shape, splits, classes; and what was decided.

    The columns of a table are shown even where it can't be trained yet: without a target, with gaps.

    Example: klayer data info houses.csv --target price
    """
    from klayer.data import columns, load
    from klayer.errors import KlayerError
    from klayer.files import json_text

    table = columns(name, **said(ctx))
    try:
        dataset = load(name, data_dir=data_dir, may_download=False, **said(ctx))
    except KlayerError as error:
        if not table:
            raise
        if as_json:
            content: dict[str, Any] = {"columns": [one.as_dict() for one in table]}
            echo(json_text({**content, "problem": str(error)}, indent=2))
        else:
            _print(_columns(table), f"not ready to train: {error}")
        return
    if as_json:
        content = _content(dataset)
        if table:
            content["columns"] = [one.as_dict() for one in table]
        echo(json_text(content, indent=2))
        return
    shape = "" if dataset.image_shape is None else f" = {' x '.join(map(str, dataset.image_shape))}"
    low, high = dataset.value_range
    what = {"classification": "classes", "regression": "targets", "multilabel": "labels"}
    k, outputs = dataset.n_classes, what[dataset.task]
    _print(
        f"{dataset.name}: {dataset.source}",
        *([_columns(table)] if table else []),
        *dataset.notes,
        f"{dataset.n_features:,} features{shape} of {dataset.splits['train'].features.dtype} from "
        f"{low:g} to {high:g}, {_constant(dataset):,} of them constant in training; {k} "
        f"{outputs if k != 1 else outputs.removesuffix('s')}",
        _outputs(dataset),
    )


# Columns of a table that are shown; --json has all of them.
_SHOWN_COLUMNS = 100


def _columns(columns: list[ColumnOverview]) -> ShownTable:
    """Tell what the columns of a table hold."""
    from klayer.shown import ShownColumn, ShownTable

    some = columns[:_SHOWN_COLUMNS]
    rest = [f"... {len(columns) - len(some):,} more"] if len(columns) > len(some) else []
    none = [""] * len(rest)
    shown = [
        ShownColumn("Column", [*(one.name for one in some), *rest], words=True),
        ShownColumn("Kind", [*(one.kind for one in some), *none], words=True),
        ShownColumn("Gaps", [*(f"{one.gaps:,}" if one.gaps else "" for one in some), *none]),
        ShownColumn("Values", [*(one.values for one in some), *none], words=True),
    ]
    rows = len(some) + len(rest)
    return ShownTable(shown, [""] * rows, [False] * rows)


def _constant(dataset: Dataset) -> int:
    """Return how many features have one value in training."""
    from klayer.data.measure import extremes

    low, high = extremes(dataset.splits["train"].features)
    return int((low == high).sum())


def _content(dataset: Dataset) -> dict[str, Any]:
    """What JSON says of a data set."""
    content = {
        "name": dataset.name,
        "source": dataset.source,
        "task": dataset.task,
        "features": dataset.n_features,
        "dtype": str(dataset.splits["train"].features.dtype),
        "value_range": list(dataset.value_range),
        "constant_features": _constant(dataset),
        "image_shape": dataset.image_shape,
        "classes": dataset.n_classes,
        "class_names": list(dataset.class_names),
        "splits": {split: len(part) for split, part in dataset.splits.items()},
        "notes": list(dataset.notes),
    }
    if dataset.encoder is not None:
        content["feature_names"] = list(dataset.encoder.feature_names)
    per_output = {split: _counts(dataset, split) for split in dataset.splits}
    return {**content, _PER_OUTPUT[dataset.task]: per_output}


_PER_OUTPUT = {
    "classification": "samples_per_class",
    "multilabel": "samples_per_label",
    "regression": "target_ranges",
}


def _counts(dataset: Dataset, split: str) -> list[Any]:
    """Return how many samples have each class or label; of targets lowest, mean and highest."""
    import numpy as np

    labels = dataset.splits[split].labels
    if dataset.task == "classification":
        counts = np.bincount(labels, minlength=dataset.n_classes)
    elif dataset.task == "multilabel":
        counts = labels.sum(axis=0, dtype=int)
    else:
        counts = np.stack([labels.min(axis=0), labels.mean(axis=0), labels.max(axis=0)], axis=1)
    return list(counts.tolist())


def _outputs(dataset: Dataset) -> ShownTable:
    """Tell what each split holds of each class, label or target."""
    from klayer.shown import ShownColumn, ShownTable

    counts = {split: _counts(dataset, split) for split in dataset.splits}
    names = list(dataset.class_names)
    if dataset.task == "regression":
        pairs = [(index, split) for index in range(len(names)) for split in dataset.splits]
        shown = [
            ShownColumn("Target", [names[index] for index, _ in pairs], words=True),
            ShownColumn("split", [split for _, split in pairs], words=True),
            ShownColumn("rows", [f"{len(dataset.splits[split]):,}" for _, split in pairs], rank=1),
        ]
        for k, title in enumerate(("lowest", "mean", "highest")):
            cells = [f"{counts[split][index][k]:.5g}" for index, split in pairs]
            shown.append(ShownColumn(title, cells))
    else:
        word = "Class" if dataset.task == "classification" else "Label"
        shown = [ShownColumn(word, [*names, "all"], words=True)]
        for split, part in dataset.splits.items():
            cells = [f"{count:,}" for count in counts[split]]
            shown.append(ShownColumn(split, [*cells, f"{len(part):,}"]))
    rows = len(shown[0].cells)
    return ShownTable(shown, [""] * rows, [False] * rows)


@app.command(cls=HelpedCommand)
def fetch(name: Name, data_dir: DataDir = None) -> None:
    """Find a data set, or download it (cifar10: 170 MB) into DIR or the user's cache folder.

    Example: klayer data fetch cifar10
    """
    from klayer.cli.progress import download

    place = download(name, data_dir=data_dir)
    _print(f"{name}: {place}")


@app.command(cls=HelpedCommand)
def show(
    name: Name,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The PNG to write; by default NAME.png."),
    ] = None,
) -> None:
    """Write a contact sheet of a data set of images: a PNG with a row per class.

    Example: klayer data show digits --out digits.png
    """
    from klayer.data import contact_sheet, load
    from klayer.errors import KlayerError
    from klayer.files import write_bytes

    if out is not None and out.suffix.lower() != ".png":
        raise KlayerError(f"--out must end in .png, but got {out}.")
    dataset = load(name, data_dir=data_dir, may_download=False)
    path = Path(f"{dataset.name}.png") if out is None else out
    png = io.BytesIO()
    contact_sheet(dataset).save(png, format="PNG")
    write_bytes(path, png.getvalue())
    _print(f"{path}: {len(dataset.class_names)} classes of {dataset.name}")
