"""CIFAR-100 (Krizhevsky 2009): 60,000 colour photographs of 32 x 32 pixels in a hundred classes."""

from __future__ import annotations

from pathlib import Path

from klayer.data.dataset import Dataset, Split
from klayer.data.locations import locations, not_found
from klayer.data.source import Source
from klayer.data.sources.cifar10_formats import LAYOUTS_100, find_copy, read_copy

__all__ = ["CLASS_NAMES", "SOURCE", "load"]

IMAGE_SHAPE = (3, 32, 32)
VALIDATION_ROWS_OF = 10  # one in so many training images validates, the last ones
_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CLASS_NAMES = tuple(_NAMES.split())


def load(data_dir: str | Path | None = None) -> Dataset:
    """Load CIFAR-100: 45,000 images to train, 5,000 to validate, 10,000 to test; fine labels.

    The last tenth of the training images validates. klayer doesn't download it.

    Parameters
    ----------
    data_dir : str or Path, optional
        Look here and nowhere else.

    Returns
    -------
    Dataset
        Features of D = 3,072 bytes, image shape (3, 32, 32).

    Raises
    ------
    KlayerError
        If no copy is found, or the copy is damaged.
    """
    found = find_copy(LAYOUTS_100, data_dir)
    if found is None:
        raise not_found(
            "CIFAR-100",
            locations(data_dir),
            [f"{one.folder}/" for one in LAYOUTS_100] + [one.archive for one in LAYOUTS_100],
            "klayer doesn't download it: name the folder that holds one of these with --data-dir or "
            "KLAYER_DATA, or use the bundled data set `digits`.",
        )
    images, labels = read_copy(found)
    train_rows, _ = found.layout.about.rows()
    train = train_rows - train_rows // VALIDATION_ROWS_OF
    parts = {
        "train": slice(0, train),
        "validation": slice(train, train_rows),
        "test": slice(train_rows, None),
    }
    kind = "archive" if found.is_archive else "folder"
    return Dataset(
        "cifar100",
        {name: Split(images[rows], labels[rows]) for name, rows in parts.items()},
        CLASS_NAMES,
        IMAGE_SHAPE,
        source=f"CIFAR-100, {found.layout.kind} batches, {kind} {found.path.name}",
    )


def _find(data_dir: str | Path | None) -> str | None:
    found = find_copy(LAYOUTS_100, data_dir)
    return None if found is None else str(found.path)


SOURCE = Source(
    name="cifar100",
    description="small photographs in a hundred classes",
    load=lambda request: load(request.data_dir),
    find=_find,
    shape="3 x 32 x 32",
    n_classes=100,
    sizes=(45_000, 5_000, 10_000),
)
