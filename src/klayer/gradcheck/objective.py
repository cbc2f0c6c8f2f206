"""Anyone's ``loss_and_grads`` as the object that the checker works on, with its contract enforced.

Inside the checker every array carries a leading axis of P networks; a user's function is ``P = 1``.
:class:`klayer.gradcheck.network` holds the other implementation, for populations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError, unknown_name

__all__ = ["Array", "FunctionObjective", "LossAndGrads", "Objective", "Params", "as_params", "flat"]

Array = NDArray[Any]
Params = dict[str, Array]
Loss = Callable[[Mapping[str, Array]], float]
LossAndGrads = Callable[[Mapping[str, Array]], tuple[float, Mapping[str, ArrayLike]]]


class Objective(Protocol):
    """What the checker needs to know of a model."""

    params: Params  # float64, each (P, ...)
    terms: tuple[str, ...]  # names of the terms of the cost
    derived: frozenset[str]  # terms whose gradient is a difference of others, and as noisy
    loss_dtype: np.dtype[Any]
    evaluations: int

    def losses(self, params: Params) -> Array:
        """Return the terms of the cost, shape (T, P), in the precision of ``params``."""
        ...

    def losses_with(self, params: Params, name: str, entries: Array, values: Array) -> Array:
        """Return the losses with one entry after another set to ``values[:, i]``, (T, P, m)."""
        ...

    def evaluate(self, params: Params) -> tuple[Array, dict[str, Params]]:
        """Return the terms, shape (T, P), and for each term the gradients, shape (P, ...)."""
        ...


def flat(value: Array) -> Array:
    """Return an array of P networks as (P, size)."""
    return value.reshape(len(value), -1)


def as_params(params: Mapping[str, ArrayLike]) -> Params:
    """Copy a mapping of arrays into float64, and refuse what isn't one.

    Raises
    ------
    KlayerError
        For something else than a mapping from names to arrays of finite real numbers.
    """
    if not isinstance(params, Mapping):
        raise KlayerError(
            f"`params` must map names to arrays, but got {type(params).__name__}: "
            "pass for example {'W1': W1, 'b1': b1}."
        )
    if not params:
        raise KlayerError("`params` must name at least one array, but it is empty.")
    copied = {}
    for name, value in params.items():
        if not isinstance(name, str):
            raise KlayerError(f"`params` must have text as keys, but got {name!r}.")
        array, must = _array(value, f"params[{name!r}]"), f"`params[{name!r}]` must"
        if array.dtype.kind != "f":
            raise KlayerError(
                f"{must} hold floating-point numbers, but its dtype is {array.dtype}: pass it as "
                "float64."
            )
        if array.size == 0:
            raise KlayerError(f"{must} not be empty, but got shape {array.shape}.")
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            index = tuple(int(i) for i in bad[0])
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise KlayerError(f"{must} be finite, but holds {array[index]} at {index}{more}.")
        copied[name] = np.array(array, dtype=np.float64)
    return copied


class FunctionObjective:
    """A user's function, or one function for each term of the cost: see :func:`check_gradients`.

    Raises
    ------
    KlayerError
        Here, or at the first evaluation, if the function does not keep its contract.
    """

    derived: frozenset[str] = frozenset()

    def __init__(
        self,
        function: LossAndGrads | Mapping[str, LossAndGrads],
        params: Mapping[str, ArrayLike],
        loss: Loss | None = None,
    ) -> None:
        functions = dict(function) if isinstance(function, Mapping) else {"cost": function}
        if not functions:
            raise KlayerError("`loss_and_grads` must hold at least one term, but it is empty.")
        for term, one in functions.items():
            if not callable(one):
                raise KlayerError(
                    "`loss_and_grads` must be a function of the parameters, but "
                    f"{term!r} is {type(one).__name__}."
                )
        if loss is not None and (not callable(loss) or len(functions) > 1):
            raise KlayerError(
                "`loss` must be a function of the parameters, beside one `loss_and_grads`: "
                f"got {type(loss).__name__} beside {len(functions)} term(s)."
            )
        self.functions, self.loss = functions, loss
        self.terms = tuple(functions)
        self.params = {name: array[None] for name, array in as_params(params).items()}
        self.loss_dtype: np.dtype[Any] = np.dtype(np.float64)
        self.evaluations = 0

    def losses(self, params: Params) -> Array:
        self.evaluations += 1
        if self.loss is not None:
            values = [self._scalar(self.loss(_shown(params)), "loss")]
        else:
            values = [value for value, _ in self._call(params).values()]
        return np.array(values)[:, None]

    def losses_with(self, params: Params, name: str, entries: Array, values: Array) -> Array:
        work = flat(params[name])
        found = []
        for entry, value in zip(entries, values.T, strict=True):
            kept = work[:, entry].copy()
            work[:, entry] = value
            found.append(self.losses(params))
            work[:, entry] = kept
        return np.stack(found, axis=2)

    def evaluate(self, params: Params) -> tuple[Array, dict[str, Params]]:
        self.evaluations += 1
        before = {name: value.copy() for name, value in params.items()}
        found = self._call(params)
        values = [value for value, _ in found.values()]
        gradients = {term: self._gradients(grads) for term, (_, grads) in found.items()}
        for name, value in params.items():
            if not np.array_equal(value, before[name]):
                raise KlayerError(
                    f"`loss_and_grads` must leave its parameters as they are, but it changed "
                    f"`params[{name!r}]` in place: work on a copy."
                )
        if self.loss is not None:
            apart, together = self._scalar(self.loss(_shown(params)), "loss"), values[0]
            if abs(apart - together) > 1e-6 * max(abs(together), 1e-300):
                raise KlayerError(
                    "`loss` and `loss_and_grads` must agree, but got "
                    f"{apart!r} and {together!r} at the same parameters."
                )
        return np.array(values)[:, None], gradients

    def _call(self, params: Params) -> dict[str, tuple[Any, Any]]:
        """Return loss and gradients of each term."""
        found = {}
        for term, function in self.functions.items():
            result: Any = function(_shown(params))
            if not isinstance(result, tuple | list) or len(result) != 2:
                length = f" of length {len(result)}" if isinstance(result, tuple | list) else ""
                raise KlayerError(
                    f"`loss_and_grads` must return (loss, grads), but {term!r} returned "
                    f"{type(result).__name__}{length}."
                )
            found[term] = self._scalar(result[0], term), result[1]
        return found

    def _scalar(self, value: object, term: str) -> Any:
        array = _array(value, f"loss of {term!r}" if len(self.functions) > 1 else "loss")
        if array.dtype.kind not in "fciu" or array.size != 1:
            raise KlayerError(
                f"the loss must be one number, but got {array.dtype} of shape {array.shape}: "
                "return the mean or the sum over the samples."
            )
        if array.dtype.kind in "fc":
            self.loss_dtype = array.dtype
        return array.reshape(())[()]

    def _gradients(self, grads: object) -> Params:
        if not isinstance(grads, Mapping):
            raise KlayerError(
                "the gradients must be a mapping keyed as `params`, but got "
                f"{type(grads).__name__}."
            )
        for name in grads:
            if name not in self.params:
                raise unknown_name("gradient", name, self.params)
        checked = {}
        for name, like in self.params.items():
            if name not in grads:
                raise KlayerError(
                    f"the gradients lack {name!r}: a gradient must have exactly its parameter's "
                    f"key. Got: {', '.join(map(str, grads)) or 'none'}."
                )
            its, shape = f"`grads[{name!r}]`", like.shape[1:]
            if grads[name] is None:
                raise KlayerError(
                    f"{its} is None: the loss does not depend on it, or its gradient was never "
                    "computed."
                )
            array = _array(grads[name], f"grads[{name!r}]")
            if array.shape != shape:
                hint = " (the transposed shape)" if array.T.shape == shape else ""
                raise KlayerError(
                    f"{its} must have shape {shape} like its parameter, but got {array.shape}{hint}."
                )
            if array.dtype.kind not in "fiu":
                raise KlayerError(f"{its} must hold real numbers, but its dtype is {array.dtype}.")
            checked[name] = np.array(array, dtype=np.float64)[None]  # a copy: buffers are reused
        return checked


def _shown(params: Params) -> Params:
    # [0, ...] keeps a view even of a scalar parameter, so that perturbations show through.
    return {name: value[0, ...] for name, value in params.items()}


def _array(value: Any, what: str) -> Array:
    must, kind = f"`{what}` must be a number or a NumPy array, but", type(value).__name__
    try:
        array = np.asarray(value)
    except Exception as error:
        raise KlayerError(
            f"{must} {kind} could not be converted ({error}): for a PyTorch tensor, pass "
            "`.detach().numpy()`."
        ) from error
    if array.dtype.kind in "OSUV":
        raise KlayerError(f"{must} got {kind}.")
    return array
