"""What a piece of a network is, and what a piece at work is.

A *piece* (an affine map, batch normalisation, an activation) is a plain description: which parameters
it has, and how it is written down. :meth:`Piece.prepare` makes a *pass* of it for some networks and one
size of batch: every view, buffer and constant is made then, so that :meth:`Pass.forward` and
:meth:`Pass.backward` are straight lines of array calls.

Shape letters: ``P`` networks, ``N`` samples, ``D`` features, ``H`` hidden units. All passes run in
float32, float64 and complex128, and are *complex-safe*: analytic in their inputs wherever the network is
differentiable, so that a complex step differentiates them to machine precision. That is why decisions
go by the real part alone, why the variance is a plain product (not ``abs``), and why nothing is ever
conjugated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import Gradient
from klayer.nn.shares import Spread
from klayer.nn.workspace import Workspace

__all__ = ["NUMBERS", "Bare", "BarePass", "Batch", "Param", "Pass", "Piece", "Site"]

# The numbers of a network that are no parameters, with what they are unless somebody says otherwise.
NUMBERS = {
    "smoothing": 0.0,
    "huber_delta": 1.0,
    "bn_momentum": 0.9,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "input_noise": 0.0,
}


@dataclass(frozen=True)
class Param:
    """A parameter of one network.

    Attributes
    ----------
    shape : tuple of int
    start : float or None
        Where every entry starts; None for weights, which an initialiser draws and the penalty holds
        small.
    """

    shape: tuple[int, ...]
    start: float | None = None

    @property
    def is_weight(self) -> bool:
        """Whether it is drawn by an initialiser, and penalised."""
        return self.start is None


class Batch:
    """What a plan works on; to be filled anew for each update.

    Attributes
    ----------
    x : array, shape (N, D), shared by all networks
    labels : array, shape (N,) or (N, K)
        As the loss takes them: class indices, targets, or 0 and 1.
    update : int
        Index of the update, from 0.
    weights : array, shape (N,), or None
        How much each sample counts in the loss; their mean over the training split is 1.
    mixed : (array, array), each of shape (N,), or None
        Of samples that are mixtures of two: the other class, and the share of ``labels``.
    """

    __slots__ = ("labels", "mixed", "update", "weights", "x")

    def __init__(
        self,
        x: NDArray[Any],
        labels: NDArray[Any],
        update: int = 0,
        weights: NDArray[Any] | None = None,
        mixed: tuple[NDArray[Any], NDArray[Any]] | None = None,
    ) -> None:
        self.x, self.labels, self.update = x, labels, update
        self.weights, self.mixed = weights, mixed


@dataclass(frozen=True)
class Site:
    """Where pieces are prepared: some networks, a size of batch, memory.

    Attributes
    ----------
    params : mapping of array, shape (P, ...)
        Views: updates move them.
    running : mapping of array, shape (P, H), or None
        Running statistics. In training they are moved; at inference they are used.
    training : bool
    batch : Batch
        Of the size that all batches will have.
    ws : Workspace
    spread : callable ``(function, shares)``, optional
        Where idle threads may help: calls ``function(share, workspace)`` for all shares.
    numbers : mapping of array, shape (P,)
        Numbers of each network that are no parameters, by their names in :data:`NUMBERS`, in float64;
        and ``draw_key``, uint64 (P, 2), which says what dropout and noise draw.
    quantiles : tuple of float
        Those that the outputs are to predict, where the loss is for quantiles.
    """

    params: Mapping[str, NDArray[Any]]
    running: Mapping[str, NDArray[Any]] | None
    training: bool
    batch: Batch
    ws: Workspace
    spread: Spread | None = None
    numbers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    quantiles: tuple[float, ...] = ()

    # Skip connections that pieces above are to find, by layer.
    forks: dict[int, Any] = field(default_factory=dict)

    def exact(self, name: str) -> NDArray[Any]:
        """Return each network's number of a name in :data:`NUMBERS`, in float64, shape (P,)."""
        values = self.numbers.get(name)
        return np.full(self.networks, NUMBERS[name]) if values is None else values

    def number(self, name: str) -> NDArray[Any]:
        """Return the same in the parameters' real dtype, shape (P, 1, 1)."""
        return self.exact(name).astype(self.real)[:, None, None]

    @property
    def real(self) -> np.dtype[Any]:
        """The real dtype of what is computed."""
        return np.zeros(0, self.dtype).real.dtype

    @property
    def networks(self) -> int:
        """P."""
        return len(next(iter(self.params.values())))

    @property
    def samples(self) -> int:
        """N."""
        return len(self.batch.x)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of everything that is computed."""
        return next(iter(self.params.values())).dtype

    def array(self, name: str, width: int) -> NDArray[Any]:
        """Return a scratch array of shape (P, N, width)."""
        return self.ws.array(name, (self.networks, self.samples, width), self.dtype)

    def row(self, name: str, width: int) -> NDArray[Any]:
        """Return a scratch array of shape (P, 1, width): a number for each network and unit."""
        return self.ws.array(name, (self.networks, 1, width), self.dtype)


class Pass(Protocol):
    """A piece at work.

    Attributes
    ----------
    x : array, shape (P, N, D), or (N, D) for the first piece
        Its input. That of the first piece is set for each batch.
    y : array, shape (P, N, H), its output
    """

    x: NDArray[Any]
    y: NDArray[Any]

    def forward(self) -> None:
        """Compute ``y`` from ``x``."""

    def connect(self, g: NDArray[Any], below: bool) -> tuple[NDArray[Any], dict[str, Gradient]]:
        """Prepare the way back.

        Parameters
        ----------
        g : array, shape (P, N, H)
            Where the gradient with respect to ``y`` will stand; may be overwritten by :meth:`backward`.
        below : bool
            Whether the gradient with respect to ``x`` is wanted.

        Returns
        -------
        grad_x : array, shape of ``x``
            Where :meth:`backward` leaves it; anything if it is not wanted.
        gradients : dict of Gradient
            Of the piece's parameters, at hand after each :meth:`backward`.
        """

    def backward(self) -> None:
        """Compute the gradients from ``g``; called before any of the piece's parameters moves."""


class Piece(Protocol):
    """A piece of a network: a frozen description without numbers."""

    @property
    def layer(self) -> int:
        """The layer that it belongs to, 1 ... k."""

    def params(self) -> dict[str, Param]:
        """Return its parameters by key."""

    def running(self) -> dict[str, Param]:
        """Return its running statistics by key."""

    def describe(self) -> dict[str, Any]:
        """Return plain values, with the name of the kind under ``piece``."""

    def prepare(self, site: Site, x: NDArray[Any]) -> Pass:
        """Make it ready to work on ``x``."""


@dataclass(frozen=True)
class Bare:
    """A piece without parameters and running statistics.

    Parameters
    ----------
    layer : int
        0 for the inputs.
    width : int
    """

    kind: ClassVar[str]

    layer: int
    width: int

    def params(self) -> dict[str, Param]:
        """None."""
        return {}

    def running(self) -> dict[str, Param]:
        """None."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return plain values."""
        return {"piece": self.kind, **asdict(self)}


class BarePass:
    """Such a piece at work: the gradient stays where it is, and :meth:`Pass.backward` changes it."""

    def connect(self, g: NDArray[Any], below: bool) -> tuple[NDArray[Any], dict[str, Gradient]]:  # noqa: ARG002
        """Remember where the gradient stands."""
        self.g = g
        return g, {}
