"""`klayer data`: list, inspect, download and picture the data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
        help="cifar10, fashion_mnist, digits, synthetic[:OPTIONS], a .npz file, an image folder.",
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


@app.command()
def info(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Load a data set, check it, and print its shape, splits and classes."""
    import numpy as np
    from rich import box
    from rich.table import Table

    from klayer.data import load

    dataset = load(name, data_dir=data_dir, may_download=False)
    train = dataset.splits["train"].features
    constant = int((train == train[0]).all(axis=0).sum())
    counts = {
        split: np.bincount(part.labels, minlength=dataset.n_classes).tolist()
        for split, part in dataset.splits.items()
    }
    low, high = dataset.value_range
    if as_json:
        content = {
            "name": dataset.name,
            "source": dataset.source,
            "features": dataset.n_features,
            "dtype": str(train.dtype),
            "value_range": [low, high],
            "constant_features": constant,
            "image_shape": dataset.image_shape,
            "classes": dataset.n_classes,
            "class_names": list(dataset.class_names),
            "splits": {split: len(part) for split, part in dataset.splits.items()},
            "samples_per_class": counts,
            "notes": list(dataset.notes),
        }
        from klayer.files import json_text

        print(json_text(content, indent=2))
        return
    shape = "" if dataset.image_shape is None else f" = {' x '.join(map(str, dataset.image_shape))}"
    table = Table("Class", box=box.SIMPLE_HEAD, pad_edge=False)
    for split in dataset.splits:
        table.add_column(split, justify="right")
    for index, class_name in enumerate(dataset.class_names):
        table.add_row(class_name, *(f"{counts[split][index]:,}" for split in dataset.splits))
    table.add_section()
    table.add_row("all", *(f"{len(part):,}" for part in dataset.splits.values()))
    _print(
        f"{dataset.name}: {dataset.source}",
        f"{dataset.n_features:,} features{shape} of {train.dtype} from {low:g} to {high:g}, "
        f"{constant:,} of them constant in training; {dataset.n_classes} classes",
        table,
        *dataset.notes,
    )


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

    if out is not None and out.suffix.lower() != ".png":
        raise KlayerError(f"--out must end in .png, but got {out}.")
    dataset = load(name, data_dir=data_dir, may_download=False)
    path = Path(f"{dataset.name}.png") if out is None else out
    try:
        contact_sheet(dataset).save(path)
    except OSError as error:
        raise KlayerError(f"--out: {path} can't be written ({error.strerror or error}).") from None
    _print(f"{path}: {len(dataset.class_names)} classes of {dataset.name}")
