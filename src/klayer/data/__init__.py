"""Where arrays come from: every source becomes a `Dataset` of named splits.

`load` takes a name (``cifar10``, ``fashion_mnist``, ``digits``, ``synthetic``) or a path (a .npz
file, a folder of images). Importing this package imports NumPy only; what a source needs beyond it
is imported when the source is used.
"""

from klayer.data.dataset import Dataset, Split, Standardiser
from klayer.data.inputs import read_inputs
from klayer.data.sheet import contact_sheet
from klayer.data.sources import Source, available, fetch, load

__all__ = [
    "Dataset",
    "Source",
    "Split",
    "Standardiser",
    "available",
    "contact_sheet",
    "fetch",
    "load",
    "read_inputs",
]
