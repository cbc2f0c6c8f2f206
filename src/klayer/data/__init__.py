"""Where arrays come from: every source becomes a `Dataset` of named splits.

`load` takes a name (``cifar10``, ``fashion_mnist``, ``digits``, ``synthetic``) or a path (a .npz
file, a folder of images). Importing this package imports NumPy only; what a source needs beyond it
is imported when the source is used.
"""

from klayer.data.catalogue import SourceInfo, available, can_download, fetch, load
from klayer.data.contact_sheet import contact_sheet
from klayer.data.dataset import Dataset, Split
from klayer.data.read_rows import read_rows
from klayer.data.standardiser import Standardiser

__all__ = [
    "Dataset",
    "SourceInfo",
    "Split",
    "Standardiser",
    "available",
    "can_download",
    "contact_sheet",
    "fetch",
    "load",
    "read_rows",
]
