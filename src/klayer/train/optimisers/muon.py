"""Muon: steps whose matrices are made orthogonal, for all weight matrices but the last layer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn import Workspace
from klayer.train.optimisers.adaptive import adamw, adamw_rates
from klayer.train.optimisers.row import Numbers, Slots

__all__ = ["COEFFICIENTS", "STEPS", "muon", "muon_rates", "muon_slots", "orthogonalise"]

Array = NDArray[Any]

# Jordan's quintic a x + b x^3 + c x^5 lifts small singular values fast and leaves all within .7 to 1.2.
COEFFICIENTS, STEPS = (3.4445, -4.7750, 2.0315), 5
# A matrix of D x H whose singular values are 1 has the root mean square 1 / sqrt(max(D, H)); that of
# Adam's steps is about .2.
LIKE_ADAM = 0.2


def muon_slots(params: Mapping[str, Array]) -> Slots:
    """Return a velocity for each weight matrix but the last one, and Adam's slots for all others."""
    matrices = [key for key, one in params.items() if one.ndim == 3][:-1]
    others = [key for key in params if key not in matrices]

    def zeros(keys: list[str]) -> dict[str, Array]:
        return {key: np.zeros_like(params[key]) for key in keys}

    return {"velocity": zeros(matrices), "mean": zeros(others), "square": zeros(others)}


# Biases, gamma, beta and the last layer's weights move by AdamW with the same numbers.
muon_rates = adamw_rates


def orthogonalise(u: Array, ws: Workspace) -> Array:
    """Return the small matrix ``S`` with ``u S`` (or ``S u``, where u is wide) nearly orthogonal.

    Newton-Schulz's iteration ``X = a X + b (X X^T) X + c (X X^T)^2 X`` from ``X = u / ||u||``. All its
    steps are polynomials in the Gram matrix ``G = u^T u / ||u||^2`` of the shorter side, so that only
    ``G`` is iterated: ``B = a + b G + c G^2``, ``S = S B``, ``G = B G B``. A layer of
    3,072 x 50 costs two products of its size, and the rest is 50 x 50.

    Parameters
    ----------
    u : array, shape (P, D, H)
    ws : Workspace

    Returns
    -------
    S : array, shape (P, n, n), n the smaller of D and H; scratch memory

    Examples
    --------
    >>> u = np.diag([3.0, 0.5])[None]
    >>> singular = np.diag((u @ orthogonalise(u, Workspace()))[0])
    >>> bool(((singular > 0.6) & (singular < 1.3)).all())
    True
    """
    P, D, H = u.shape
    n = min(D, H)
    G, B, S, T = (ws.array(name, (P, n, n), u.dtype) for name in ("gram", "B", "S", "T"))
    diagonal_of_B, diagonal_of_T = (one.reshape(P, n * n)[:, :: n + 1] for one in (B, T))
    a, b, c = COEFFICIENTS
    uT = u.transpose(0, 2, 1)
    np.matmul(*((uT, u) if D >= H else (u, uT)), out=G)  # (P, n, .) @ (P, ., n)
    square = np.sum(G.reshape(P, n * n)[:, :: n + 1], axis=1).reshape(P, 1, 1)  # ||u||^2
    np.maximum(square, np.finfo(u.dtype).tiny, out=square)
    np.divide(G, square, out=G)
    for step in range(STEPS):
        np.multiply(G, c, out=T)
        np.add(diagonal_of_T, b, out=diagonal_of_T)
        np.matmul(G, T, out=B)  # b G + c G^2
        np.add(diagonal_of_B, a, out=diagonal_of_B)
        if step == 0:
            np.divide(B, np.sqrt(square), out=S)
        else:
            np.matmul(S, B, out=T)
            S, T = T, S
            diagonal_of_T = T.reshape(P, n * n)[:, :: n + 1]
        if step < STEPS - 1:
            np.matmul(G, B, out=T)
            np.matmul(B, T, out=G)
    return S


def muon(
    param: Array, g: Array, slots: Mapping[str, Array], numbers: Numbers, ws: Workspace
) -> None:
    """Muon: ``d = g + 2 lambda W``, ``v = m v + d``, ``W = (1 - lr w) W - .2 lr sqrt(max(D, H)) O``.

    ``O`` is ``d + m v`` with all singular values brought near 1 (:func:`orthogonalise`), ``m`` the
    setting ``momentum``, ``w`` ``weight_decay``. The factor makes steps about as long as Adam's, so that
    the learning rate is of Adam's size. So move the weights of all layers but the last; its weights,
    biases, gamma and beta move by :func:`klayer.train.optimisers.adaptive.adamw` with the same numbers.
    Sources: Jordan et al. 2024, kellerjordan.github.io/posts/muon; the factor: Liu et al. 2025,
    arXiv:2502.16982.
    """
    if "velocity" not in slots:
        adamw(param, g, slots, numbers, ws)
        return
    v, m = slots["velocity"], numbers.more["momentum"]
    step = ws.array("optimiser", g.shape, g.dtype)
    if numbers.slope is not None:
        np.multiply(param, numbers.slope, out=step)
        np.add(g, step, out=g)
        np.multiply(param, numbers.more["keep_decayed"], out=param)
    np.multiply(v, m, out=v)
    np.add(v, g, out=v)
    np.multiply(v, m, out=step)
    np.add(g, step, out=g)
    _, D, H = g.shape
    S = orthogonalise(g, ws)
    np.multiply(S, numbers.minus_lr * (LIKE_ADAM * max(D, H) ** 0.5), out=S)
    np.matmul(*((g, S) if D >= H else (S, g)), out=step)
    np.add(param, step, out=param)
