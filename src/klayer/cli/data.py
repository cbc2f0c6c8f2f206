"""`klayer data`: list, inspect, download and picture the data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.options import DataCommand, said

if TYPE_CHECKING:
    from rich.table import Table

    from klayer.data import Dataset
    from klayer.data.tables.overview import ColumnOverview

app = typer.Typer(
    name="data",
    help="List, inspect, download and picture data sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="cifar10, fashion_mnist, digits, synthetic[:OPTIONS], a table (.csv, .parquet, ...), a "
        ".npz file, an image folder.",
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


def _print(*parts: object) -> None:
    """Print lines as they are, never wrapped, and tables fitted to the terminal."""
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


@app.command("list")
def list_sources(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the sources, and where their data are."""
    from rich.table import Table
    from rich.text import Text

    from klayer.data import available

    sources = available(data_dir)
    if as_json:
        from klayer.files import json_text

        print(json_text([source.as_dict() for source in sources], indent=2))
        return
    table = Table.grid(padding=(0, 3, 1, 0))
    for source in sources:
        lines = [source.description]
        if source.sizes is not None:
            sizes = " / ".join(f"{size:,}" for size in source.sizes)
            lines.append(f"{source.shape}, {source.n_classes} classes, {sizes} samples")
        details = Text("\n".join(lines) + "\n")
        details.append(source.found or "not found", "green" if source.found else "yellow")
        table.add_row(Text(source.name, "bold"), details)
    _print(
        table,
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
            print(json_text({**content, "problem": str(error)}, indent=2))
        else:
            _print(_columns(table), f"not ready to train: {error}")
        return
    if as_json:
        content = _content(dataset)
        if table:
            content["columns"] = [one.as_dict() for one in table]
        print(json_text(content, indent=2))
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


def _columns(columns: list[ColumnOverview]) -> Table:
    """Draw what the columns of a table hold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("Column", "Kind", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Gaps", justify="right")
    table.add_column("Values")
    for one in columns[:_SHOWN_COLUMNS]:
        gaps = f"{one.gaps:,}" if one.gaps else ""
        table.add_row(Text(one.name), Text(one.kind), gaps, Text(one.values))
    if len(columns) > _SHOWN_COLUMNS:
        table.add_row(f"... {len(columns) - _SHOWN_COLUMNS:,} more", "", "", "")
    return table


def _constant(dataset: Dataset) -> int:
    """Return how many features have one value in training."""
    train = dataset.splits["train"].features
    return int((train == train[0]).all(axis=0).sum())


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


def _outputs(dataset: Dataset) -> Table:
    """Draw what each split holds of each class, label or target."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    regression = dataset.task == "regression"
    word = {"classification": "Class", "multilabel": "Label", "regression": "Target"}[dataset.task]
    table = Table(word, *(["split"] if regression else []), box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("rows", "lowest", "mean", "highest") if regression else dataset.splits:
        table.add_column(title, justify="right")
    counts = {split: _counts(dataset, split) for split in dataset.splits}
    for index, name in enumerate(dataset.class_names):
        if not regression:
            table.add_row(Text(name), *(f"{counts[split][index]:,}" for split in counts))
            continue
        for split, part in dataset.splits.items():
            numbers = (f"{one:.5g}" for one in counts[split][index])
            table.add_row(Text(name), split, f"{len(part):,}", *numbers)
    if not regression:
        table.add_section()
        table.add_row("all", *(f"{len(part):,}" for part in dataset.splits.values()))
    return table


@app.command()
def fetch(name: Name, data_dir: DataDir = None) -> None:
    """Find a data set, or download it (cifar10: 170 MB) into DIR or the user's cache folder."""
    from klayer.cli.progress import download

    place = download(name, data_dir=data_dir)
    _print(f"{name}: {place}")


@app.command()
def show(
    name: Name,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The PNG to write; by default NAME.png."),
    ] = None,
) -> None:
    """Write a contact sheet of a data set of images: a PNG with a row per class."""
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
