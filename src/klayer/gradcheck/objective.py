"""Anyone's ``loss_and_grads`` as the object that the checker works on, with its contract enforced.

Inside the checker every array carries a leading axis of P networks; a user's function is ``P = 1``.
:class:`klayer.gradcheck.network` holds the other implementation, for populations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.errors import KlayerError
from klayer.gradcheck.structure import Structure, flatten, is_container

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
    watch: Callable[[], None]  # called at each evaluation, or some of them

    @property
    def loss_dtype(self) -> np.dtype[Any]:
        """Type of the loss that was returned last."""
        ...

    @property
    def given(self) -> np.dtype[Any]:
        """The coarsest type of the parameters, as they were given."""
        ...

    @property
    def evaluations(self) -> int:
        """How often the loss has been computed."""
        ...

    def losses(self, params: Params) -> Array:
        """Return the terms of the cost, shape (T, P), in the precision of ``params``."""
        ...

    def losses_with(self, params: Params, name: str, entries: Array, values: Array) -> Array:
        """Return the losses with one entry after another set to ``values[:, i]``, (T, P, m)."""
        ...

    def evaluate(self, params: Params) -> tuple[Array, dict[str, Params]]:
        """Return the terms, shape (T, P), and for each term the gradients, shape (P, ...)."""
        ...

    def rounding(self, params: Params) -> Params:
        """Return by how much gradients may be off by the way they are computed; none: by nothing."""
        ...


def flat(value: Array) -> Array:
    """Return an array of P networks as (P, size)."""
    return value.reshape(len(value), -1)


def as_params(params: Any) -> Params:
    """Copy named arrays into float64, and refuse what isn't one; nested ones are named by their path.

    Raises
    ------
    KlayerError
        For something else than arrays of finite real numbers.
    """
    bare = isinstance(params, list | tuple | str | bytes) and not is_container(params)
    if bare or params is None or callable(params):
        raise KlayerError(
            f"`params` must map names to arrays, but got {type(params).__name__}: "
            "pass for example {'W1': W1, 'b1': b1}."
        )
    leaves = flatten(params)
    if not leaves:
        raise KlayerError("`params` must name at least one array, but it is empty.")
    copied = {}
    for name, value in leaves.items():
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
        params: Any,
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
        if loss is None and len(functions) == 1:
            loss = getattr(next(iter(functions.values())), "loss_alone", None)
        self.functions, self.loss = functions, loss
        self.terms = tuple(functions)
        self.params = {name: array[None] for name, array in as_params(params).items()}
        self.structure = Structure(params)
        types = [np.asarray(value).dtype for value in flatten(params).values()]
        self.given: np.dtype[Any] = min(types, key=lambda one: one.itemsize)
        self.notes: list[str] = []
        self.watch: Callable[[], None] = lambda: None
        self.loss_dtype: np.dtype[Any] = np.dtype(np.float64)
        self.evaluations = 0

    def shown(self, params: Params) -> Any:
        """Return parameters as the user's functions know them."""
        # [0, ...] keeps a view even of a scalar parameter, so that perturbations show through.
        return self.structure.build({name: value[0, ...] for name, value in params.items()})

    def rounding(self, params: Params) -> Params:
        found: Params = {}
        for function in self.functions.values():
            rounding = getattr(function, "rounding", None)
            if rounding is not None:
                for name, value in flatten(rounding(self.shown(params))).items():
                    found[name] = np.maximum(found.get(name, 0.0), np.asarray(value)[None])
        return found

    def losses(self, params: Params) -> Array:
        self.evaluations += 1
        self.watch()
        if self.loss is not None:
            values = [self._scalar(_called(self.loss, self.shown(params)), "loss")]
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
        self.watch()
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
            apart, together = (
                self._scalar(_called(self.loss, self.shown(params)), "loss"),
                values[0],
            )
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
            result: Any = _called(function, self.shown(params))
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
        shapes = {name: value.shape[1:] for name, value in self.params.items()}
        checked = {}
        for name, value in self.structure.gradients(grads, shapes).items():
            its, shape = f"`grads[{name!r}]`", shapes[name]
            if value is None:
                raise KlayerError(
                    f"{its} is None: the loss does not depend on it, or its gradient was never "
                    "computed."
                )
            array = _array(value, f"grads[{name!r}]")
            if array.shape != shape and _squeezed(array.shape) == _squeezed(shape):
                # (1, n) for (n,): the same numbers, if not the same to NumPy's broadcasting.
                note = (
                    f"the gradient of {name} has shape {array.shape}, the array {shape}: beware of "
                    f"broadcasting where one is subtracted from the other."
                )
                if note not in self.notes:
                    self.notes.append(note)
                array = array.reshape(shape)
            if array.shape != shape:
                hint = " (the transposed shape)" if array.T.shape == shape else ""
                raise KlayerError(
                    f"{its} must have shape {shape} like its parameter, but got {array.shape}{hint}."
                )
            if array.dtype.kind not in "fiu":
                raise KlayerError(f"{its} must hold real numbers, but its dtype is {array.dtype}.")
            checked[name] = np.array(array, dtype=np.float64)[None]  # a copy: buffers are reused
        return checked


def _called(function: Callable[[Any], Any], params: Any) -> Any:
    try:
        return function(params)
    except SystemExit as error:
        raise KlayerError(
            f"the function must return, but it ended the program (SystemExit: {error.code})."
        ) from error


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _array(value: Any, what: str) -> Array:
    must, kind = f"`{what}` must be a number or a NumPy array, but", type(value).__name__
    try:
        array = np.asarray(value)
    except Exception as error:
        raise KlayerError(
            f"{must} {kind} could not be converted ({error}): for a PyTorch tensor, pass "
            "`.detach().numpy()`."
        ) from error
    if np.ma.is_masked(value):
        raise KlayerError(f"{must} has masked entries: pass `.filled(...)`.")
    if array.dtype.kind in "OSUV":
        of = f" of dtype {array.dtype}" if isinstance(value, np.ndarray) else ""
        raise KlayerError(f"{must} got {kind}{of}.")
    return array
