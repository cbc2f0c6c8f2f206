"""A large first layer cut into shares of its inputs, so that several threads can work on one network.

Each share has a part of the rows of ``W``: it multiplies that part with its columns of the batch, and
later updates it. The products of the shares are added up in their order. How many shares there are
follows from the shape of ``W`` alone, and so do the bits, whoever does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from klayer.nn.workspace import Workspace

__all__ = ["Share", "Spread", "cut"]

Array = NDArray[Any]
Share = tuple[int, int]  # network, share of the inputs
Spread = Callable[[Callable[[Share, Workspace], None], Sequence[Share]], None]

# A share of this size, and its part of the product, stay in a core's cache; more shares than that many
# would cost more in waiting than they bring.
SHARE_BYTES, MOST_SHARES = 320 << 10, 8


def cut(W: Array) -> list[slice]:
    """Cut the rows of ``W``, shape (P, D, H), into shares, two at the least.

    Examples
    --------
    >>> import numpy as np
    >>> cut(np.empty((1, 3072, 50), np.float32))
    [slice(0, 1536, None), slice(1536, 3072, None)]
    """
    _, D, H = W.shape
    shares = min(MOST_SHARES, max(2, -(-D * H * W.itemsize // SHARE_BYTES)))
    return [slice(*ends) for ends in pairwise(round(D * i / shares) for i in range(shares + 1))]
