"""The settings of the network: its pieces, its start, its penalty, what it is trained to make small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from klayer.errors import KlayerError, unknown_name
from klayer.nn import (
    ACTIVATIONS,
    BATCH_NORM,
    BN_PLACES,
    LAYER_NORM,
    LOSSES,
    SKIP,
    Initialiser,
    Network,
    layers_or_word,
    loss_of,
)
from klayer.train.setting import rows_of, setting

__all__ = ["Architecture"]

# What other libraries call them.
_LOSSES_ELSEWHERE = {
    **dict.fromkeys(
        ("cross_entropy", "crossentropy", "ce", "log_loss", "nll"), "softmax_cross_entropy"
    ),
    **dict.fromkeys(("mse", "l2", "mean_squared_error", "squared_error"), "squared"),
    **dict.fromkeys(("mae", "l1", "mean_absolute_error", "absolute_error"), "absolute"),
    **dict.fromkeys(("smooth_l1", "smoothl1"), "huber"),
    **dict.fromkeys(("pinball", "quantile_loss"), "quantile"),
    **dict.fromkeys(("bce", "bce_with_logits", "binary_crossentropy"), "binary_cross_entropy"),
}
_ACTIVATIONS_ELSEWHERE = {
    **dict.fromkeys(("swish", "silu"), "silu"),
    **dict.fromkeys(("leaky", "leakyrelu", "lrelu"), "leaky_relu"),
    **dict.fromkeys(("gelu_new", "gelu_approximate", "gelutanh"), "gelu_tanh"),
    "elu": "selu",
}


def _normalises(layers: Any) -> bool:
    """Whether any layers are normalised."""
    return bool(layers != "none")


def _has_neighbours_alike(hidden: Any) -> bool:
    """Whether a hidden layer is as wide as the one below."""
    several = isinstance(hidden, list | tuple)
    return several and any(below == above for below, above in pairwise(hidden))


_NORMALISING: dict[str, Any] = {
    "only_with": ("batch_norm", _normalises),
    "only_words": "batch_norm='hidden', 'all' or numbers of layers",
}


def _initialiser(value: Any) -> str:
    return str(Initialiser.parse(value))


def _activation(value: Any) -> str | tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    names = names if isinstance(names, list | tuple) else [names]
    found = tuple(name.strip() if isinstance(name, str) else name for name in names)
    for name in found:
        if not isinstance(name, str) or name not in ACTIVATIONS:
            meant = _ACTIVATIONS_ELSEWHERE.get(str(name).lower())
            hint = f"did you mean {meant!r}?" if meant else None
            each = "or with commas one for each hidden layer, as in relu,tanh"
            raise unknown_name("activation", name, [*ACTIVATIONS, each], hint)
    if not found:
        raise KlayerError("`activation` must name one, or one for each hidden layer, but got none.")
    return found[0] if len(found) == 1 else found


def _layers(name: str, words: Sequence[str], value: Any) -> str | tuple[int, ...]:
    """Read a word, numbers of layers, or a text of them with commas."""
    if isinstance(value, str) and value not in words:
        parts = [part.strip() for part in value.split(",")]
        if all(part.lstrip("-").isdecimal() for part in parts):
            value = [int(part) for part in parts]
    found: str | tuple[int, ...] = layers_or_word(name, value, words)
    return found


def _shares(value: Any) -> dict[int, float]:
    """Read layers with the shares of the rate that they have, 1 where none is said: ``1:0.5,3``."""
    parts = value.split(",") if isinstance(value, str) else value
    split = [str(part).partition(":") for part in parts]
    try:
        pairs = [(int(layer), float(share if colon else 1)) for layer, colon, share in split]
    except ValueError:
        pairs = [(0, math.nan)]
    if not all(0 < share <= 1 for _, share in pairs) or len(dict(pairs)) < len(pairs):
        raise KlayerError(
            "`dropout_layers` must name each layer once, its share of the rate > 0 and <= 1, as in "
            f"1:0.5,3, but got {value!r:.80}: say shares like that, or numbers of layers with commas, "
            "as in 1,3."
        )
    return dict(sorted(pairs))


def _dropout_layers(value: Any) -> str | tuple[int, ...]:
    """Read a word or numbers of layers; a text, where some have a share of the rate alone."""
    parts = value if isinstance(value, list | tuple) else [value]
    if not any(isinstance(part, str) and ":" in part for part in parts):
        return _layers("dropout_layers", ("hidden",), value)
    shares = _shares(value)
    found: tuple[int, ...] = layers_or_word("dropout_layers", list(shares), ("hidden",))
    if set(shares.values()) == {1.0}:
        return found
    return ",".join(f"{k}:{share!r}" if share < 1 else f"{k}" for k, share in shares.items())


def _class_weights(value: Any) -> Any:
    if value in ("none", "balanced"):
        return value
    weights = _floats(
        "class_weights", value, "'none', 'balanced' or numbers >= 0, one a class, as in 1,2.5"
    )
    if any(weight < 0 for weight in weights) or not any(weights):
        raise KlayerError(
            "`class_weights` must be numbers >= 0, not all of them 0, but got "
            f"class_weights={list(weights)}."
        )
    return weights


def _quantiles(value: Any) -> tuple[float, ...]:
    found = _floats("quantiles", value, "numbers between 0 and 1, ascending, as in 0.1,0.5,0.9")
    if not found or any(low >= high for low, high in pairwise((0.0, *found, 1.0))):
        raise KlayerError(
            "`quantiles` must be numbers between 0 and 1, ascending, as in 0.1,0.5,0.9, but got "
            f"quantiles={list(found)}."
        )
    return found


def _floats(name: str, value: Any, wanted: str) -> tuple[float, ...]:
    """Read a list of numbers, or a text of them with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = parts if isinstance(parts, list | tuple) else [parts]
    try:
        kinds = str, int, float, np.integer, np.floating
        if any(isinstance(part, bool) or not isinstance(part, kinds) for part in parts):
            raise TypeError
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        found = (math.nan,)
    if not all(math.isfinite(one) for one in found):
        raise KlayerError(f"`{name}` must be {wanted}, but got {name}={value!r}.")
    return found


@dataclass(frozen=True)
class Architecture:
    """The part of :class:`klayer.train.Settings` that says what is trained.

    Examples
    --------
    >>> from klayer.train import Settings
    >>> Settings(hidden=(5, 4), activation=("gelu", "tanh")).network(4, 3).activations
    ('gelu', 'tanh')
    """

    hidden: tuple[int, ...] = setting(
        (50, 50),
        "Hidden widths, as in 50,30,20.",
        at_least=1,
        bound=1_000_000,
        rule="must be whole numbers >= 1",
        metavar="WIDTHS",
        search="choices",
    )
    batch_norm: str | tuple[int, ...] = setting(
        "none",
        "Layers with batch normalisation: none, hidden (all but the last), all, or their numbers, as in "
        "1,3.",
        choices=BATCH_NORM,
        read=partial(_layers, "batch_norm", BATCH_NORM),
        values="none, hidden, all or numbers of layers",
        flags=("--batch-norm", "--bn"),
        search="choices",
    )
    bn_eps: float = setting(
        1e-8,
        "Added to the variance in batch normalisation, inside the root; keep it small beside the "
        "pre-activations' variance.",
        at_least=1e-30,  # what float32 still tells from 0, and from infinity one over its root
        below=1,
        **_NORMALISING,
    )
    bn_place: str = setting(
        "before",
        "Where hidden layers normalise by the batch: {choices} their activation.",
        choices=BN_PLACES,
        search="choices",
        label="place of batch normalisation",
        symbol="BN",
        **_NORMALISING,
    )
    bn_momentum: float = setting(
        0.9,
        "What the running averages of batch normalisation keep of their old value at each update.",
        at_least=0,
        below=1,
        scope="network",
        search="linear",
        label="momentum of batch normalisation",
        symbol="BN momentum",
        **_NORMALISING,
    )
    layer_norm: str | tuple[int, ...] = setting(
        "none",
        "Layers that normalise each sample by its own units: none, hidden, or their numbers, as in 1,3; "
        "not those with batch_norm.",
        choices=LAYER_NORM,
        read=partial(_layers, "layer_norm", LAYER_NORM),
        values="none, hidden or numbers of layers",
        search="choices",
        label="layer normalisation",
        symbol="LN",
    )
    init: str = setting(
        "he",
        "Initialisation: he, xavier, lecun (all by fan-in) or gaussian:SIGMA.",
        read=_initialiser,
        values="he, xavier, lecun or gaussian:SIGMA",
        scope="network",
        search="choices",
    )
    l2: float = setting(
        0.005,
        "Penalty lambda, in loss + lambda * sum W²; no factor 1/2.",
        at_least=0,
        rule="must be a number >= 0",
        scope="network",
        search="log",
        flags=("--l2", "--lambda"),
        label="λ",
    )
    activation: str | tuple[str, ...] = setting(
        "relu",
        "Activation of the hidden layers: {choices}; with commas, one for each of them.",
        choices=ACTIVATIONS,
        read=_activation,
        search="choices",
    )
    skip: str = setting(
        "none",
        "Skip connections: none, or equal (a hidden layer as wide as the one below adds its output).",
        choices=SKIP,
        search="choices",
        label="skip connections",
        only_with=("hidden", _has_neighbours_alike),
        only_words="a hidden layer as wide as the one below",
    )
    dropout: float = setting(
        0.0,
        "Share of the hidden units that is dropped in each update.",
        at_least=0,
        below=1,
        scope="network",
        search="linear",
    )
    dropout_layers: str | tuple[int, ...] = setting(
        "hidden",
        "Layers of which units are dropped: hidden, or their numbers, as in 1,3; a layer may have a "
        "share of the rate, half of it in 1:0.5,3.",
        read=_dropout_layers,
        values="hidden or numbers of layers, with shares > 0 and <= 1",
        search="choices",
        label="layers with dropout",
    )
    input_dropout: float = setting(
        0.0,
        "Share of the inputs that is dropped in each update.",
        at_least=0,
        below=1,
        scope="network",
        search="linear",
        label="dropout of inputs",
    )
    input_noise: float = setting(
        0.0,
        "Gaussian noise on the inputs in each update, in standard deviations of each feature, drawn for "
        "each network by itself.",
        at_least=0,
        scope="network",
        search="linear",
        label="noise on inputs",
        symbol="input noise",
    )
    loss: str = setting(
        "auto",
        "What is made small: {choices}; auto follows the task of the data (softmax_cross_entropy for "
        "classes, squared for numbers, binary_cross_entropy for several labels).",
        choices=("auto", *LOSSES),
        search="choices",
        elsewhere=_LOSSES_ELSEWHERE,
    )
    smoothing: float = setting(
        0.0,
        "Label smoothing: the share of a class's probability that is spread over all classes.",
        at_least=0,
        below=1,
        scope="network",
        search="linear",
        label="label smoothing",
        symbol="smoothing",
        only_with=("loss", ("auto", "softmax_cross_entropy")),
    )
    class_weights: str | tuple[float, ...] = setting(
        "none",
        "How much each class counts in the loss: none, balanced (all the same), or a number for each "
        "class, of which only the ratios matter.",
        read=_class_weights,
        values="none, balanced or numbers >= 0",
        metavar="WEIGHTS",
        only_with=("loss", ("auto", "softmax_cross_entropy")),
    )
    huber_delta: float = setting(
        1.0,
        "Where the Huber loss becomes a straight line, in standard deviations of the target.",
        above=0,
        scope="network",
        search="log",
        label="Huber's delta",
        symbol="δ",
        only_with=("loss", ("huber",)),
    )
    quantiles: tuple[float, ...] = setting(
        (0.1, 0.5, 0.9),
        "What the loss quantile predicts of each target.",
        read=_quantiles,
        values="numbers between 0 and 1, ascending",
        metavar="QUANTILES",
        only_with=("loss", ("quantile",)),
    )

    @property
    def drops_hidden(self) -> bool | tuple[int, ...]:
        """Where units are dropped, if any are: as :class:`klayer.nn.Network` has it."""
        return self.dropout_layers == "hidden" or tuple(_shares(self.dropout_layers))

    @property
    def dropout_shares(self) -> tuple[float, ...]:
        """The share of the rate that each of these layers has; empty if all have all of it."""
        if self.dropout_layers == "hidden" or isinstance(self.dropout_layers, tuple):
            return ()
        return tuple(_shares(self.dropout_layers).values())

    def check_layers(self) -> None:
        """Refuse numbers of layers that the network hasn't, and two normalisations of one layer."""
        if self.dropout_layers != "hidden":
            layers = list(_shares(self.dropout_layers))
            layers_or_word("dropout_layers", layers, ("hidden",), len(self.hidden))
        norms = self.batch_norm, self.layer_norm
        if "none" not in norms or any(isinstance(one, tuple) for one in norms):
            Network(1, self.hidden, 2, batch_norm=self.batch_norm, layer_norm=self.layer_norm)

    def network(self, n_features: int, n_classes: int, task: str | None = None) -> Network:
        """Return the architecture that these settings ask for.

        Parameters
        ----------
        n_features : int, >= 1
        n_classes : int, >= 1
            Number of classes, targets or labels.
        task : {"classification", "regression", "multilabel"}, optional
            Of the data; by default that of the loss, and classification if the loss is ``auto``.

        Raises
        ------
        KlayerError
            If the loss is not for this task, or a setting has no effect with it.

        Examples
        --------
        >>> from klayer.train import Settings
        >>> Settings(hidden=(5,), activation="tanh").network(n_features=4, n_classes=3).widths
        (4, 5, 3)
        >>> Settings(loss="squared").network(4, 2, task="classification")
        Traceback (most recent call last):
            ...
        klayer.errors.KlayerError: `loss='squared'` is for regression, but the task of the data is \
classification: choose auto or softmax_cross_entropy.
        """
        if self.loss == "auto":
            # Made again, so that what has no effect with this loss is refused.
            return replace(self, loss=loss_of(task or "classification")).network(
                n_features, n_classes, task
            )
        if task not in (None, LOSSES[self.loss].task):
            fitting = [name for name, loss in LOSSES.items() if loss.task == task]
            raise KlayerError(
                f"`loss={self.loss!r}` is for {LOSSES[self.loss].task}, but the task of the data is "
                f"{task}: choose auto or {' or '.join(fitting)}."
            )
        own = {one.name for one in fields(Network)}
        chosen = {
            name: getattr(self, name)
            for name, row in _ROWS.items()
            if name in own and row.has_effect(self)
        }
        return Network(n_features=n_features, n_classes=n_classes, **chosen)


_ROWS = rows_of(Architecture)
