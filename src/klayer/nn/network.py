"""The network: an architecture, and the sequence of pieces that it stands for.

A :class:`Network` holds no numbers. Parameters are a plain dict of arrays with a leading population
axis, keys ``W1``, ``b1`` or ``gamma1``, ``beta1``, ``W2`` and so on; a gradient has exactly its
parameter's key. Equation numbers refer to ``docs/derivations.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.nn.descriptions import read, require_pieces, written
from klayer.nn.gradients import Gradient
from klayer.nn.initialisers import Initialiser
from klayer.nn.layers import BATCH_NORM, BN_PLACES, LAYER_NORM, SKIP, layers_or_word
from klayer.nn.losses import LOSSES
from klayer.nn.pieces import (
    ACTIVATIONS,
    IN_TRAINING_ALONE,
    Activation,
    Affine,
    Batch,
    BatchNorm,
    Dropout,
    Fork,
    Join,
    LayerNorm,
    Noise,
    Param,
    Piece,
)
from klayer.nn.pieces.piece import Site
from klayer.nn.plan import Plan, Use
from klayer.nn.shares import Spread
from klayer.nn.workspace import Workspace

__all__ = ["Network", "Params"]

Params = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """A fully connected network with ``len(hidden) + 1`` layers.

    Parameters
    ----------
    n_features : int, >= 1
        Number of inputs, D.
    hidden : sequence of int, each >= 1
        Widths of the hidden layers; may be empty (a linear classifier).
    n_classes : int, >= 1
        Number of classes, targets or labels, K; of classes at least 2.
    batch_norm : {"none", "hidden", "all"} or sequence of int
        Which layers normalise their pre-activations; a sequence holds their numbers, 1 ... k. Those
        layers have no bias: the mean would cancel it.
    bn_eps : float, 1e-30 ... 1
        Added to the variance of either normalisation, inside the root. It must be small beside the
        variance of the pre-activations, or normalisation stops normalising: with the 1e-5 of many
        frameworks, nine layers that start with sigma 1e-4 never train; with 1e-8 they do.
    activation : str or sequence of str
        Of the hidden layers, a name in ``ACTIVATIONS``, or one for each of them.
    loss : str
        A name in ``LOSSES``; it says what the network is for.
    quantiles : sequence of float, each > 0 and < 1, ascending
        What the loss ``quantile`` predicts of each target: so many outputs a target; of other losses
        none.
    bn_place : {"before", "after"}
        Where hidden layers normalise by the batch: before their activation, or after it; then they
        have a bias. The last layer has no activation.
    layer_norm : {"none", "hidden"} or sequence of int
        Which hidden layers normalise each sample's pre-activations: none that ``batch_norm`` does.
    skip : {"none", "equal"}
        Whether each hidden layer that is as wide as the hidden layer below adds that one's output to
        its own.
    drops_hidden : bool or sequence of int
        Whether units of hidden layers may be dropped in training, or of which ones. The rate is a number
        of each network. At inference it makes no difference.
    dropout_shares : sequence of float, each > 0 and <= 1
        For each layer that ``drops_hidden`` names the share of the network's rate that it has; by
        default all have all of it.
    drops_inputs : bool
        Likewise of the inputs.
    noisy_inputs : bool
        Whether the inputs have noise in training, before any of them is dropped; how much is a number of
        each network.

    Raises
    ------
    KlayerError
        For sizes out of range and for unknown names.

    Examples
    --------
    >>> network = Network(n_features=4, hidden=(3,), n_classes=2, batch_norm="hidden")
    >>> {key: shape for key, shape in network.shapes().items()}
    {'W1': (4, 3), 'gamma1': (3,), 'beta1': (3,), 'W2': (3, 2), 'b2': (2,)}
    >>> [piece.describe()["piece"] for piece in network.pieces]
    ['affine', 'batch_norm', 'relu', 'affine']
    >>> params = network.init("he", seeds=[0, 1])
    >>> params["W1"].shape
    (2, 4, 3)
    """

    n_features: int
    hidden: tuple[int, ...]
    n_classes: int
    batch_norm: str | tuple[int, ...] = "none"
    bn_eps: float = 1e-8
    activation: str | tuple[str, ...] = "relu"
    loss: str = "softmax_cross_entropy"
    quantiles: tuple[float, ...] = ()
    bn_place: str = "before"
    layer_norm: str | tuple[int, ...] = "none"
    skip: str = "none"
    drops_hidden: bool | tuple[int, ...] = False
    dropout_shares: tuple[float, ...] = ()
    drops_inputs: bool = False
    noisy_inputs: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        for name in ("quantiles", "dropout_shares"):
            object.__setattr__(self, name, tuple(float(one) for one in getattr(self, name)))
        if not isinstance(self.activation, str):
            object.__setattr__(self, "activation", tuple(self.activation))
        self._pair_shares()
        for name, words, last in (
            ("batch_norm", BATCH_NORM, self.depth),
            ("layer_norm", LAYER_NORM, self.depth - 1),
            ("drops_hidden", (), self.depth - 1),
        ):
            object.__setattr__(self, name, layers_or_word(name, getattr(self, name), words, last))
        for name, known in (
            ("bn_place", BN_PLACES),
            ("skip", SKIP),
            ("loss", tuple(LOSSES)),
        ):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for name in [self.activation] if isinstance(self.activation, str) else self.activation:
            if name not in ACTIVATIONS:
                raise unknown_name("activation", name, ACTIVATIONS)
        if len(self.activations) != len(self.hidden):
            raise KlayerError(
                f"`activation` must be one name, or one for each of the {len(self.hidden)} hidden "
                f"layers, but got {list(self.activation)}."
            )
        if any(self.normalises(k) and self.normalises_samples(k) for k in range(1, self.depth)):
            raise KlayerError(
                "a layer has batch normalisation or layer normalisation, but got "
                f"batch_norm={self.batch_norm!r} and layer_norm={self.layer_norm!r}: leave one away."
            )
        for name, sizes, least in (
            ("n_features", (self.n_features,), 1),
            ("hidden", self.hidden, 1),
            ("n_classes", (self.n_classes,), 2 if self.task == "classification" else 1),
        ):
            if any(size < least for size in sizes):
                raise KlayerError(f"`{name}` must be >= {least}, but got {list(sizes)}.")
        if not 1e-30 <= self.bn_eps < 1:
            raise KlayerError(f"`1e-30 <= bn_eps < 1` must hold, but got bn_eps={self.bn_eps}.")
        rising = all(low < high for low, high in pairwise((0.0, *self.quantiles, 1.0)))
        if not rising or bool(self.quantiles) != (self.loss == "quantile"):
            raise KlayerError(
                "`quantiles` must be numbers between 0 and 1, ascending, with loss='quantile', and "
                f"none with other losses, but got {list(self.quantiles)} with loss={self.loss!r}."
            )

    def _pair_shares(self) -> None:
        """Bring the shares of dropout into the order of their layers, which ascend."""
        layers, shares = self.drops_hidden, self.dropout_shares
        if not shares:
            return
        if isinstance(layers, bool) or len(layers) != len(shares):
            raise KlayerError(
                "`dropout_shares` must be one number for each layer in `drops_hidden`, but got "
                f"{list(shares)} with drops_hidden={layers!r}."
            )
        if not all(0 < share <= 1 for share in shares):
            raise KlayerError(f"`dropout_shares` must be > 0 and <= 1, but got {list(shares)}.")
        ordered = [share for _, share in sorted(zip(layers, shares, strict=True))]
        object.__setattr__(self, "dropout_shares", tuple(ordered))

    @property
    def task(self) -> str:
        """What the network is for, which follows from its loss."""
        return LOSSES[self.loss].task

    @property
    def outputs(self) -> int:
        """How many numbers come out for a row: K, or K times the number of quantiles."""
        return self.n_classes * max(1, len(self.quantiles))

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each hidden layer."""
        one = self.activation
        return (one,) * len(self.hidden) if isinstance(one, str) else one

    @property
    def depth(self) -> int:
        """Number of layers, k."""
        return len(self.hidden) + 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, hidden widths, outputs."""
        return (self.n_features, *self.hidden, self.outputs)

    def normalises(self, layer: int) -> bool:
        """Whether layer ``layer`` (1 ... k) has batch normalisation."""
        if isinstance(self.batch_norm, tuple):
            return layer in self.batch_norm
        return self.batch_norm == "all" or (self.batch_norm == "hidden" and layer < self.depth)

    def normalises_samples(self, layer: int) -> bool:
        """Whether layer ``layer`` (1 ... k) has layer normalisation."""
        if isinstance(self.layer_norm, tuple):
            return layer in self.layer_norm
        return self.layer_norm == "hidden" and layer < self.depth

    @property
    def changes_inputs(self) -> bool:
        """Whether in training each network has inputs of its own: noisy, or some of them dropped."""
        return self.noisy_inputs or self.drops_inputs

    def drops(self, layer: int) -> bool:
        """Whether units of layer ``layer`` (0 ... k - 1, 0 for the inputs) may be dropped."""
        if not layer:
            return self.drops_inputs
        if isinstance(self.drops_hidden, tuple):
            return layer in self.drops_hidden
        return self.drops_hidden and layer < self.depth

    def dropout_share(self, layer: int) -> float:
        """Return the share of the network's rate by which layer ``layer``, if it drops, drops."""
        if isinstance(self.drops_hidden, bool) or not self.dropout_shares:
            return 1.0
        return dict(zip(self.drops_hidden, self.dropout_shares, strict=True)).get(layer, 1.0)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """What the network does, in order; the last piece gives the logits."""
        return tuple(self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        if self.noisy_inputs:
            yield Noise(0, self.n_features)
        if self.drops(0):
            yield Dropout(0, self.n_features)
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.widths), start=1):
            hidden = layer < self.depth
            after = self.normalises(layer) and hidden and self.bn_place == "after"
            before = self.normalises(layer) and not after
            skips = hidden and layer > 1 and fan_in == fan_out and self.skip == "equal"
            if skips:
                yield Fork(layer, fan_in)
            yield Affine(layer, fan_in, fan_out, bias=not before)
            if before:
                yield BatchNorm(layer, fan_out, self.bn_eps)
            if self.normalises_samples(layer):
                yield LayerNorm(layer, fan_out, self.bn_eps)
            if hidden:
                yield Activation(layer, fan_out, self.activations[layer - 1])
            if after:
                yield BatchNorm(layer, fan_out, self.bn_eps, after=True)
            if self.drops(layer):
                yield Dropout(layer, fan_out, self.dropout_share(layer))
            if skips:
                yield Join(layer, fan_out)

    # What is written down beside stored weights.

    def describe(self) -> dict[str, Any]:
        """Return the architecture and its pieces as plain values, ready for JSON."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return written(plain, [piece.describe() for piece in self.pieces])

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Network:
        """Return the network that :meth:`describe` described.

        Raises
        ------
        KlayerError
            For a piece, a loss or a property that this version doesn't know: nothing is read as
            something else.

        Examples
        --------
        >>> network = Network(4, (3,), 2, "all")
        >>> Network.from_description(network.describe()) == network
        True
        """
        network = read(cls, description, {field.name for field in fields(cls)})
        require_pieces(network.describe()["pieces"], description)
        return network

    # Numbers.

    def params(self) -> dict[str, Param]:
        """Return the parameters of one network by key, in the order of the pieces."""
        return {key: param for piece in self.pieces for key, param in piece.params().items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of one network, without the population axis."""
        return {key: param.shape for key, param in self.params().items()}

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """Keys of the parameters that are penalised."""
        return tuple(key for key, param in self.params().items() if param.is_weight)

    @property
    def size(self) -> int:
        """Number of parameters of one network."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())

    def init(
        self,
        init: str | Initialiser | Sequence[str | Initialiser],
        seeds: Sequence[int],
        dtype: DTypeLike = np.float32,
    ) -> dict[str, NDArray[Any]]:
        """Draw the parameters of a population.

        Weights are normal with the initialiser's width, biases and beta 0, gamma 1. A network's draw
        depends on its seed alone, and every initialiser scales the same standard normal draw: networks
        of one seed are paired across initialisers.

        Parameters
        ----------
        init : initialiser or name, or one for each network
        seeds : sequence of int, >= 0, one for each network
        dtype : float32, float64 or complex128

        Returns
        -------
        params : dict of array, shape (P, ...)
        """
        inits = [init] * len(seeds) if isinstance(init, str | Initialiser) else list(init)
        initialisers = [Initialiser.parse(one) for one in inits]
        if len(initialisers) != len(seeds):
            raise KlayerError(
                f"one initialiser a seed is needed, but got {len(inits)} for {len(seeds)} seeds."
            )
        params = _filled(self.params(), len(seeds), dtype)
        for p, (one, seed) in enumerate(zip(initialisers, seeds, strict=True)):
            rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
            for key in self.weights:
                W = params[key][p]
                W[...] = rng.standard_normal(W.shape) * one.std(len(W))
        return params

    def init_running(self, P: int, dtype: DTypeLike = np.float32) -> dict[str, NDArray[Any]]:
        """Return fresh running statistics: mean 0, variance 1, for layers that normalise.

        Returns
        -------
        running : dict of array, shape (P, H), keys ``running_mean1``, ``running_var1`` and so on
        """
        return _filled(self._running(), P, dtype)

    def running_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each running statistic of one network."""
        return {key: one.shape for key, one in self._running().items()}

    def _running(self) -> dict[str, Param]:
        return {key: one for piece in self.pieces for key, one in piece.running().items()}

    def penalty(self, params: Params, l2: NDArray[Any]) -> NDArray[Any]:
        """L2 penalty ``lambda * sum_l ||W_l||^2`` of each network, shape (P,) (equation 14).

        Note the convention: no factor 1/2, no division by N; biases, gamma and beta are free.
        """
        total = np.zeros(len(l2), params[self.weights[0]].dtype)
        for key in self.weights:
            for p, W in enumerate(params[key]):
                # One network at a time: a stacked product takes another path for P = 1, and so
                # other bits. The plain product keeps a complex step's derivative.
                total[p] += W.ravel() @ W.ravel()
        return l2 * total

    def penalty_slope(self, l2: NDArray[Any]) -> NDArray[Any]:
        """Return ``2 lambda``: times a weight the gradient of its penalty (equation 14)."""
        return 2 * l2

    # Work.

    def plan(
        self,
        params: Params,
        batch: Batch,
        *,
        running: Params | None = None,
        training: bool = True,
        use: Use | None = None,
        ws: Workspace | None = None,
        spread: Spread | None = None,
        numbers: Mapping[str, NDArray[Any]] | None = None,
    ) -> Plan:
        """Prepare the pieces for some networks and batches of one size.

        Parameters
        ----------
        params : dict of array, shape (P, ...)
        batch : Batch
            Of the size that all batches will have.
        running : dict of array, shape (P, H), optional
            In training these running statistics are moved; without training they are used.
        training : bool
            Whether batch normalisation goes by the statistics of the batch.
        use : callable ``(key, gradient)``, optional
            What is to become of each gradient; see :class:`Plan`.
        ws : Workspace, optional
            Scratch memory; what a plan returns lives there until somebody's next pass.
        spread : callable, optional
            Lets idle threads help with a large first layer; see :class:`klayer.nn.pieces.Site`.
        numbers : mapping of array, shape (P,), optional
            Numbers of each network that are no parameters, such as ``smoothing``: see ``NUMBERS``.
        """
        ws, numbers = ws or Workspace(), numbers or {}
        site = Site(params, running, training, batch, ws, spread, numbers, self.quantiles)
        pieces = [one for one in self.pieces if training or not isinstance(one, IN_TRAINING_ALONE)]
        return Plan(pieces, LOSSES[self.loss], site, use)

    def loss_and_grads(
        self,
        params: Params,
        x: ArrayLike,
        labels: ArrayLike,
        l2: float | Sequence[float] | NDArray[Any] = 0.0,
        ws: Workspace | None = None,
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
        """Cost of a batch in its two terms, and the gradient of their sum.

        ``J = loss + penalty``; the passes are the ones that training runs.

        Parameters
        ----------
        params : dict of array, shape (P, ...)
        x : array, shape (N, D)
        labels : array, shape (N,) or (N, K), as the loss takes them
        l2 : float, >= 0, or array of shape (P,)

        Returns
        -------
        loss : array, shape (P,), the mean over the samples
        penalty : array, shape (P,), ``lambda * sum_l ||W_l||^2``
        grads : dict of array, the keys and shapes of ``params``; all NaN if a loss is not finite

        Examples
        --------
        >>> network = Network(n_features=4, hidden=(3,), n_classes=2)
        >>> params = network.init("he", seeds=[0])
        >>> x, labels = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])
        >>> loss, penalty, grads = network.loss_and_grads(params, x, labels, l2=0.1)
        >>> grads.keys() == params.keys(), loss.shape
        (True, (1,))
        """
        W = params[self.weights[0]]
        strengths = np.broadcast_to(np.asarray(l2, dtype=W.dtype), (len(W),))
        grads = {key: np.full_like(value, np.nan) for key, value in params.items()}

        def collect(key: str, gradient: Gradient) -> Any:
            def step() -> None:
                grads[key][...] = gradient.value()

            return step

        batch = Batch(np.asarray(x).astype(W.dtype, copy=False), np.asarray(labels))
        plan = self.plan(params, batch, use=collect, ws=ws)
        plan.update()
        for key in self.weights:
            grads[key] += self.penalty_slope(strengths)[:, None, None] * params[key]
        return plan.losses().copy(), self.penalty(params, strengths), grads

    def predict(
        self, params: Params, x: NDArray[Any], running: Params, ws: Workspace | None = None
    ) -> NDArray[Any]:
        """What a trained population answers to standardised rows (N, D), shape (P, N, outputs).

        Probabilities of classes or labels; of a regression the standardised targets. NaN in the rows for
        which a network's outputs are not finite: a sigmoid would make sure answers of them.
        """
        ws = ws or Workspace()
        plan = self.plan(
            params, Batch(x, np.zeros(len(x), int)), running=running, training=False, ws=ws
        )
        outputs = plan.forward()
        lost = ~np.isfinite(outputs).all(axis=-1)
        answers = LOSSES[self.loss].predict(outputs, ws)
        answers[lost] = np.nan
        return self.in_order(answers)

    def point(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return one number for each target, (..., K), of outputs (..., outputs).

        Of several quantiles that is the one nearest to the median, of other losses all there is.
        """
        if not self.quantiles:
            return outputs
        middle = int(np.abs(np.array(self.quantiles) - 0.5).argmin())
        return self.in_order(outputs)[..., middle :: len(self.quantiles)]

    def in_order(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return outputs whose quantiles, of each target, ascend: those that cross change places.

        That is never further from the true quantiles (Chernozhukov, Fernandez-Val & Galichon 2010).
        """
        if len(self.quantiles) < 2:
            return outputs
        each = outputs.reshape(*outputs.shape[:-1], self.n_classes, len(self.quantiles))
        return np.sort(each, axis=-1).reshape(outputs.shape)


def _filled(params: Mapping[str, Param], P: int, dtype: DTypeLike) -> dict[str, NDArray[Any]]:
    return {key: np.full((P, *one.shape), one.start or 0.0, dtype) for key, one in params.items()}
