"""Models that aren't functions of their parameters, made into such: objects, PyTorch modules, steps.

:func:`from_model` takes an object that keeps its parameters, :func:`from_step` one step of training:
what an optimiser does to the parameters is a gradient, too, and the one that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from klayer.errors import KlayerError
from klayer.gradcheck.structure import Structure, flatten, is_container, joined

__all__ = ["from_model", "from_step"]

_GRADIENTS = ("grads", "gradients", "grad")


class _Step:
    """``loss_and_grads`` by one step of training; see :func:`from_step`."""

    def __init__(
        self, step: Callable[[Any], Any], loss: Callable[[Any], Any], learning_rate: float
    ) -> None:
        self._step, self.loss_alone, self._rate = step, loss, learning_rate

    def __call__(self, params: Any) -> tuple[Any, Any]:
        structure = Structure(params)
        before = {name: np.array(value) for name, value in flatten(params).items()}
        own = structure.build({name: np.array(value) for name, value in before.items()})
        returned = self._step(own)
        after = flatten(own if returned is None else returned)
        if after.keys() != before.keys():
            raise KlayerError(
                "`step` must return all parameters, or change them in place, but returned "
                f"{', '.join(after) or type(returned).__name__}."
            )
        grads = {name: (before[name] - np.asarray(after[name])) / self._rate for name in before}
        return self.loss_alone(params), structure.build(grads)

    def rounding(self, params: Any) -> dict[str, Any]:
        """Return by how much gradients may be off, since they are differences of parameters."""
        return {
            name: 4 * np.finfo(float).eps * np.abs(np.asarray(value)).max() / self._rate + 0 * value
            for name, value in flatten(params).items()
        }


def from_step(
    step: Callable[[Any], Any], loss: Callable[[Any], Any], learning_rate: float = 1.0
) -> Callable[[Any], tuple[Any, Any]]:
    """Turn one step of training into a gradient: ``(before - after) / learning_rate``.

    A check of ``backward`` can't see that the update uses gamma's gradient for beta, or a gradient of
    parameters that have already moved. This one can.

    Parameters
    ----------
    step : callable
        ``step(params)`` makes one step of plain gradient descent, without momentum and decay of its own,
        from these parameters; in place, or by returning the new ones.
    loss : callable
        ``loss(params) -> float``, the cost that the step descends on, penalty included.
    learning_rate : float, > 0
        Of the step. With 1 the fewest digits are lost.

    Returns
    -------
    loss_and_grads : callable
        For :func:`check_gradients`.

    Examples
    --------
    >>> from klayer.gradcheck import check_gradients
    >>> def loss(params):
    ...     return (params["a"] ** 2).sum() + (3 * params["b"]).sum()
    >>> def step(params):
    ...     params["a"] -= 0.1 * 3  # swapped
    ...     params["b"] -= 0.1 * 2 * params["a"]
    >>> point = {"a": np.array([1.0, 2.0]), "b": np.array([0.5, 1.0])}
    >>> check_gradients(from_step(step, loss, learning_rate=0.1), point).verdict
    'wrong'
    """
    _require_rate(learning_rate)
    for name, one in (("step", step), ("loss", loss)):
        if not callable(one):
            raise KlayerError(
                f"`{name}` must be a function of the parameters, but got {type(one).__name__}."
            )
    return _Step(step, loss, float(learning_rate))


def from_model(
    model: Any,
    *batch: Any,
    params: str | Callable[[Any], Any] = "params",
    loss: str | Callable[..., Any] = "loss",
    grads: str | Callable[[Any], Any] | None = None,
    step: Callable[[Any], Any] | None = None,
    learning_rate: float = 1.0,
) -> tuple[Callable[[Any], tuple[Any, Any]], Any]:
    """Turn an object that keeps its parameters into what :func:`check_gradients` takes.

    The parameters are written into the model's own arrays before each call.

    Parameters
    ----------
    model : object
        Such as a class with a dictionary ``params`` and a method ``loss``; or a PyTorch module.
    *batch
        Arguments of ``loss``, as a rule inputs and labels.
    params : str or callable
        Attribute that holds the arrays, in a mapping or nested; or ``params(model)`` that returns them:
        the model's own ones, not copies. By default ``params``; of a PyTorch module its named
        parameters.
    loss : str or callable
        Method, ``model.loss(*batch)``, or ``loss(model, *batch)``: returns the loss, or the loss and the
        gradients.
    grads : str or callable, optional
        Attribute or method, or ``grads(model)``, that has the gradients after ``loss`` was called. By
        default what ``loss`` returned beside the loss, what autograd computes, what ``backward()``
        returns, or the attribute ``grads``.
    step : callable, optional
        ``step(model)`` makes one step of training: its update is checked in place of the gradient, see
        :func:`from_step`.
    learning_rate : float, > 0
        Of ``step``.

    Returns
    -------
    loss_and_grads : callable
    params : structure of arrays
        The values that the model has now.

    Raises
    ------
    KlayerError
        If the object has no such attributes.

    Examples
    --------
    >>> from klayer.gradcheck import check_gradients
    >>> class Line:
    ...     def __init__(self):
    ...         self.params = {"W": np.array([[1.0], [2.0]]), "b": np.zeros(1)}
    ...     def loss(self, x, y):
    ...         r = x @ self.params["W"] + self.params["b"] - y
    ...         return (r**2).sum(), {"W": 2 * x.T @ r, "b": 2 * r.sum(axis=0)}
    >>> rng = np.random.default_rng(0)
    >>> check_gradients(*from_model(Line(), rng.standard_normal((5, 2)), np.ones((5, 1)))).verdict
    'right'
    """
    held = _Held(model, params)
    if isinstance(loss, str) and not callable(getattr(model, loss, None)):
        raise KlayerError(
            f"{type(model).__name__} must have a method {loss!r}: name another as `loss`, or pass a "
            "function of the model."
        )

    def outcome() -> Any:
        return getattr(model, loss)(*batch) if isinstance(loss, str) else loss(model, *batch)

    def value(params: Any) -> Any:
        held.write(params)
        result = outcome()
        return _number(result[0] if isinstance(result, tuple | list) else result)

    def loss_and_grads(params: Any) -> tuple[Any, Any]:
        held.write(params)
        held.forget_gradients()
        result = outcome()
        if isinstance(result, tuple | list) and len(result) == 2 and grads is None:
            return _number(result[0]), held.named(result[1])
        first = result[0] if isinstance(result, tuple | list) else result
        return _number(first), held.named(_gradients(model, first, grads, held))

    if step is None:
        return loss_and_grads, held.values()

    def stepped(params: Any) -> Any:
        held.write(params)
        step(model)
        return held.values()

    return from_step(stepped, value, learning_rate), held.values()


class _Held:
    """The arrays that a model keeps."""

    def __init__(self, model: Any, params: str | Callable[[Any], Any]) -> None:
        if params == "params" and hasattr(model, "named_parameters"):
            params = lambda model: dict(model.named_parameters())  # noqa: E731
        if isinstance(params, str) and not hasattr(model, params):
            raise KlayerError(
                f"{type(model).__name__} must have an attribute {params!r}: name another as `params`, "
                "or pass a function that returns the model's arrays."
            )
        self._model, self._get = model, params
        self._own: dict[str, Any] = {}  # the arrays that complex ones stand for
        if self._current() is None:
            raise KlayerError(
                f"{type(model).__name__} must keep its arrays in `params`, but that is None: name "
                "another attribute, or pass a function that returns the model's arrays."
            )
        self.structure = Structure(self._current())

    def _current(self) -> Any:
        if isinstance(self._get, str):
            value = getattr(self._model, self._get)
            return value() if callable(value) and not hasattr(value, "shape") else value
        return self._get(self._model)

    def leaves(self) -> dict[str, Any]:
        return flatten(self._current())

    def values(self) -> Any:
        """Return copies of the arrays, in the model's structure."""
        return self.structure.build(
            {name: np.array(_numpy(value)) for name, value in self.leaves().items()}
        )

    def write(self, params: Any) -> None:
        new = flatten(params)
        if any(np.iscomplexobj(value) for value in new.values()):
            # Arrays of floats take no complex numbers: others stand in their place in the containers.
            for container, key, path in _places(self._current(), ""):
                self._own.setdefault(path, container[key])
                container[key] = np.array(new[path])
            return
        for container, key, path in _places(self._current(), ""):
            if isinstance(container[key], np.ndarray) and container[key].dtype.kind == "c":
                container[key] = self._own[path]  # the model may know it by another name, too
            elif np.isscalar(container[key]):
                container[key] = np.array(new[path])
        for name, leaf in self.leaves().items():
            if hasattr(leaf, "detach"):
                leaf.data.copy_(leaf.data.new_tensor(new[name]))
            elif isinstance(leaf, np.ndarray) and leaf.flags.writeable:
                leaf[...] = new[name]
            else:
                is_ = "read-only" if isinstance(leaf, np.ndarray) else type(leaf).__name__
                raise KlayerError(
                    f"the model's parameter {name!r} must be an array that can be written to, but is "
                    f"{is_}."
                )
        for name, leaf in self.leaves().items():
            value = np.asarray(_numpy(leaf))
            if not np.array_equal(value, np.asarray(new[name]).astype(value.dtype)):
                raise KlayerError(
                    f"the model's parameter {name!r} must be the model's own array, but what is written "
                    "to it is not there afterwards: return no copy, and no array under two names."
                )

    def forget_gradients(self) -> None:
        for leaf in self.leaves().values():
            if hasattr(leaf, "detach"):
                leaf.grad = None

    def named(self, grads: Any) -> Any:
        if is_container(grads):
            return _mapped(grads)
        return _numpy(grads)


def _gradients(model: Any, loss: Any, grads: str | Callable[[Any], Any] | None, held: _Held) -> Any:
    if callable(grads):
        return grads(model)
    if isinstance(grads, str):
        value = getattr(model, grads)
        return value() if callable(value) else value
    leaves = held.leaves()
    if hasattr(loss, "backward") and all(hasattr(one, "detach") for one in leaves.values()):
        loss.backward()
        return held.structure.build({name: one.grad for name, one in leaves.items()})
    if callable(getattr(model, "backward", None)):
        returned = model.backward()
        if is_container(returned):
            return returned
    for name in _GRADIENTS:
        if hasattr(model, name):
            value = getattr(model, name)
            return value() if callable(value) else value
    raise KlayerError(
        f"{type(model).__name__} must give gradients: `loss` returns (loss, gradients), or name the "
        f"attribute or method that has them as `grads` (tried: backward(), {', '.join(_GRADIENTS)})."
    )


def _places(value: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield container, key and path of each array in mutable containers."""
    if not is_container(value) or isinstance(value, tuple):
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, one in list(items):
        inner = joined(path, key)
        if is_container(one):
            yield from _places(one, inner)
        else:
            yield value, key, inner


def _numpy(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return value


def _mapped(grads: Any) -> Any:
    return Structure(grads).build({name: _numpy(one) for name, one in flatten(grads).items()})


def _number(loss: Any) -> Any:
    return _numpy(loss)


def _require_rate(rate: Any) -> None:
    good = isinstance(rate, int | float | np.floating) and not isinstance(rate, bool)
    if not (good and 0 < rate < float("inf")):
        raise KlayerError(f"`learning_rate` must be a number > 0, but got {rate!r}.")
