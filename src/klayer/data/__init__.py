"""Where arrays come from: every source becomes a `Dataset` of named splits.

`load` takes a name (``cifar10``, ``fashion_mnist``, ``digits``, ``synthetic``) or a path (a .npz
file, a folder of images). Importing this package imports NumPy only; what a source needs beyond it
is imported when the source is used.
"""

from klayer.data.catalogue import SourceInfo, available, can_download, columns, fetch, load
from klayer.data.contact_sheet import contact_sheet
from klayer.data.dataset import Dataset, Split
from klayer.data.encoder import Encoder
from klayer.data.from_arrays import from_arrays
from klayer.data.options import DataOptions
from klayer.data.read_rows import read_rows
from klayer.data.standardiser import Standardiser

__all__ = [
    "DataOptions",
    "Dataset",
    "Encoder",
    "SourceInfo",
    "Split",
    "Standardiser",
    "available",
    "can_download",
    "columns",
    "contact_sheet",
    "fetch",
    "from_arrays",
    "load",
    "read_rows",
]
