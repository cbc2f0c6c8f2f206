"""The check of klayer's own networks: the function that training calls, a population at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError
from klayer.gradcheck.check import run_check
from klayer.gradcheck.objective import Params, as_params
from klayer.gradcheck.options import validate
from klayer.gradcheck.population_objective import PopulationObjective
from klayer.gradcheck.result import Check
from klayer.nn import (
    Initialiser,
    Network,
)

Array = NDArray[Any]

__all__ = ["check_network", "drawn_labels", "generic_params"]


def check_network(
    network: Network,
    params: Mapping[str, ArrayLike] | None = None,
    x: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    l2: float | Sequence[float] = 0.1,
    networks: int = 1,
    samples: int = 20,
    init: str | Initialiser = "he",
    method: str = "auto",
    arrays: str | Sequence[str] | None = None,
    entries: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    numbers: Mapping[str, float | Sequence[float]] | None = None,
    second_point: bool | None = None,
) -> Check:
    """Check the gradients of a klayer network, or of a population of P networks at once.

    Checked is :class:`klayer.nn.Plan`, what training runs, and the way training runs it: each gradient
    moves its parameter before the next one is computed, and two updates of the first layer are carried
    out at once. The same entry of all P networks is perturbed at once, since networks do not depend on
    each other. With ``l2 > 0`` the data term and the L2 term are checked apart, and their sum as well.

    Parameters
    ----------
    network : Network
    params : dict of array, shape (P, ...), optional
        The point; by default drawn by ``init``, with noise on biases, gamma and beta so that
        nothing hides behind a zero or a one. float32 is checked in float64.
    x : array, shape (N, D), optional
        The batch; by default standard normal.
    labels : array, optional
        What the network's loss takes: int (N,), values 0 ... K-1; targets (N, K); or 0 and 1, (N, K). By
        default drawn at random. To be given with ``x``.
    l2 : float, >= 0, or sequence of P numbers
        lambda in ``lambda * sum_l ||W_l||^2``.
    networks : int, >= 1
        P, if ``params`` is left out.
    samples : int, >= 1
        N, if ``x`` is left out.
    init : str or Initialiser
        If ``params`` is left out.
    method, arrays, entries, tolerance, seed
        As for :func:`check_gradients`.
    numbers : mapping of str to float, or to P floats; optional
        Numbers that are no parameters: ``dropout`` (by default 0.3, where hidden units may be dropped),
        ``input_dropout`` (likewise 0.2), ``input_noise`` (likewise 0.3), ``smoothing``,
        ``huber_delta``. What is drawn is the same at each evaluation.
    second_point : bool, optional
        Check at a perturbed point as well; by default if ``params`` are given: drawn ones hide
        nothing.

    Returns
    -------
    check : Check
        With terms ``data``, ``l2`` and ``cost``, or ``cost`` alone if all ``l2`` are 0.

    Raises
    ------
    KlayerError
        For arrays that don't fit the network, and for options out of range.

    Examples
    --------
    >>> network = Network(n_features=4, hidden=(5, 5), n_classes=3, batch_norm="hidden")
    >>> check = check_network(network, networks=2)
    >>> check.verdict, check.method, check.norm_error < 1e-13
    ('right', 'complex', True)
    """
    validate(networks=networks, samples=samples, seed=seed)
    rng = np.random.default_rng([seed, 1])
    x, labels = _batch(network, x, labels, samples, rng)
    point = generic_params(network, networks, init, seed) if params is None else params
    objective = PopulationObjective(network, _population(network, point), x, labels, l2, numbers)
    notes = []
    if len(labels) < 5 and network.batch_norm != "none":
        notes.append(
            f"a batch of {len(labels)} with batch normalisation: the normalised values hardly "
            "depend on the input, and gradients nearly vanish. Use 5 samples or more."
        )
    check = run_check(
        objective,
        method=method,
        arrays=arrays,
        entries=entries,
        tolerance=tolerance,
        seed=seed,
        samples=len(labels),
        l2=objective.l2,
        references={
            term: [
                objective.reference(p, float(one) if term == "cost" else 0.0)
                for p, one in enumerate(objective.l2)
            ]
            for term in objective.terms
            if term != "l2"
        },
        kinks=objective.pre_activations,
        second_point=params is not None if second_point is None else second_point,
        notes=notes,
    )
    # The second rests on gradients that are right.
    cause = objective.in_place() or (objective.at_once() if check.verdict != "wrong" else None)
    if cause is not None:
        check = replace(check, verdict="wrong", causes=(cause, *check.causes), origin=cause.arrays)
    return check


def generic_params(
    network: Network, networks: int = 1, init: str | Initialiser = "he", seed: int = 0
) -> dict[str, Array]:
    """Draw float64 parameters at which no mistake hides behind a zero bias or a gamma of one.

    Returns
    -------
    params : dict of array, shape (P, ...)

    Examples
    --------
    >>> params = generic_params(Network(3, (2,), 2, batch_norm="all"), networks=2)
    >>> params["gamma2"].shape, bool((params["gamma2"] == 1).any())
    ((2, 2), False)
    """
    if networks < 1:
        raise KlayerError(f"`networks` must be >= 1, but got {networks}.")
    params = network.init(init, seeds=range(seed, seed + networks), dtype=np.float64)
    rng = np.random.default_rng([seed, 2])
    for name, value in params.items():
        if not name.startswith("W"):
            value += 0.1 * rng.standard_normal(value.shape)
    return params


def _batch(
    network: Network,
    x: ArrayLike | None,
    labels: ArrayLike | None,
    samples: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    if (x is None) != (labels is None):
        raise KlayerError("`x` and `labels` must be given together, or both left out.")
    if x is None:
        if samples < 1:
            raise KlayerError(f"`samples` must be >= 1, but got {samples}.")
        x = rng.standard_normal((samples, network.n_features))
        labels = drawn_labels(network, samples, rng)
    x, labels = np.asarray(x), np.asarray(labels)
    if x.ndim != 2 or x.shape[1] != network.n_features or not len(x):
        hint = ": pass samples as rows" if x.ndim == 2 and x.shape[0] == network.n_features else ""
        raise KlayerError(
            f"`x` must have shape (N, {network.n_features}) with N >= 1, but got {x.shape}{hint}."
        )
    if network.task != "classification":
        wanted = (len(x), network.n_classes)
        if labels.shape != wanted or labels.dtype.kind not in "buif":
            raise KlayerError(
                f"`labels` must be real numbers of shape {wanted}, but got {labels.dtype} of shape "
                f"{labels.shape}."
            )
        return np.array(x, np.float64), np.array(labels, np.float64)
    if labels.shape != (len(x),) or labels.dtype.kind not in "iu":
        raise KlayerError(
            f"`labels` must be {len(x)} whole numbers, one a sample, but got {labels.dtype} of "
            f"shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= network.n_classes:
        raise KlayerError(
            f"`labels` must be 0 ... {network.n_classes - 1}, but got {labels.min()} ... "
            f"{labels.max()}."
        )
    return np.array(x, np.float64), labels


def drawn_labels(network: Network, samples: int, rng: np.random.Generator) -> Array:
    """Draw labels as the network's loss takes them."""
    if network.task == "classification":
        return rng.integers(network.n_classes, size=samples)
    shape = samples, network.n_classes
    if network.task == "multilabel":
        return rng.integers(2, size=shape).astype(float)
    return rng.standard_normal(shape)


def _population(network: Network, given: Mapping[str, ArrayLike]) -> Params:
    params = as_params(given)
    shapes = network.shapes()
    if params.keys() != shapes.keys():
        raise KlayerError(
            f"`params` must have exactly the keys {', '.join(shapes)}, but got {', '.join(params)}."
        )
    P = len(params["W1"]) if params["W1"].ndim else 0
    for name, shape in shapes.items():
        if params[name].shape != (P, *shape):
            raise KlayerError(
                f"`params[{name!r}]` must have shape (P, {', '.join(map(str, shape))}) with the "
                f"same P for all, but got {params[name].shape}: the first axis is the population."
            )
    return {name: params[name] for name in shapes}
