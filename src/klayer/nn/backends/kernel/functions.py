"""Functions of one number, and how the kernel's functions are compiled.

In numba ``int * float32`` would be float64, and so constants are made of the arrays' dtype. A sum keeps
its order; a product may be fused with the sum that follows (``contract``), and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

try:
    import numba
    from numba.extending import overload
except ImportError:
    numba = None

__all__ = ["compiled", "compiled_and_kept", "erf", "exp", "numba", "tanh"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, cache: bool = False) -> F:
    """Compile a function when it is first called, if numba is there."""
    if numba is None:
        return function
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "cache": cache}
    found: F = numba.njit(**options)(function)
    return found


def compiled_and_kept(function: F) -> F:
    """Compile a function with all that it calls, and keep that on disk where a folder can be written."""
    try:
        return compiled(function, cache=True)
    except RuntimeError:  # numba found no folder
        return compiled(function)


# Functions of one number.


def exp(x: Any) -> Any:
    """Return the exponential."""
    return np.exp(x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    return np.tanh(x)


TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def erf(x: Any) -> Any:
    """Return the error function; of a complex number to first order in the imaginary part, a step."""
    slope = TWO_OVER_ROOT_PI * math.exp(-x.real * x.real)
    value = math.erf(x.real)
    return complex(value, slope * x.imag) if isinstance(x, complex) else value


if numba is not None:
    # In float32 without a branch or a call, so that loops over them are vectorised.

    def _exp32(x: Any) -> Any:
        """Cody and Waite's reduction and a polynomial of degree 6, to 1 unit in the last place."""
        f = np.float32
        x = f(-87) if x < f(-87) else x
        x = f(88) if x > f(88) else x
        n = (x * f(1.44269504) + f(12582912)) - f(12582912)
        r = (x - n * f(0.693359375)) - n * f(-2.12194440e-4)
        p = f(1.98756915e-4) * r + f(1.39819995e-3)
        p = ((p * r + f(8.33345191e-3)) * r + f(4.16657959e-2)) * r
        p = ((p + f(0.166666655)) * r + f(0.5)) * r * r + r + f(1)
        return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)

    def _exp(x: Any) -> Any:
        return _exp32 if x == numba.types.float32 else exp

    _exp_of_float32 = compiled(_exp32)

    def _tanh32(x: Any) -> Any:
        """A polynomial near 0 (Cephes), where ``1 - 2 / (exp(2 x) + 1)`` would cancel."""
        f = np.float32
        s = x * x
        p = (f(-5.70498872745e-3) * s + f(2.06390887954e-2)) * s + f(-5.37397155531e-2)
        near = ((p * s + f(1.33314422036e-1)) * s + f(-3.33332819422e-1)) * s * x + x
        far = f(1) - f(2) / (_exp_of_float32(x + x) + f(1))
        return near if s < f(0.390625) else far

    def _tanh(x: Any) -> Any:
        return _tanh32 if x == numba.types.float32 else tanh

    def _erf32(x: Any) -> Any:
        """A polynomial near 0; further out 1 - exp of one, to 2 units in the last place."""
        f = np.float32
        t, s = abs(x), x * x
        p = (f(-5.96761703e-4) * s + f(4.99119423e-3)) * s + f(-2.67681349e-2)
        p = ((p * s + f(1.12819925e-1)) * s + f(-3.76125336e-1)) * s + f(1.28379166e-1)
        near = p * x + x
        q = (f(-1.72853470e-5) * t + f(3.83197126e-4)) * s + (
            f(-3.88396438e-3) * t + f(2.42546219e-2)
        )
        q = ((q * t + f(-1.06777877e-1)) * t + f(-6.34846687e-1)) * t + f(-1.28717512e-1)
        far = f(1) - _exp_of_float32(q * t - t)
        far = far if x > f(0) else -far
        return far if t > f(0.927734375) else near

    def _erf_of_step(x: Any) -> Any:
        slope = TWO_OVER_ROOT_PI * math.exp(-x.real * x.real)
        return complex(math.erf(x.real), slope * x.imag)

    def _erf64(x: Any) -> Any:
        return math.erf(x)

    def _erf(x: Any) -> Any:
        if x == numba.types.float32:
            return _erf32
        return _erf_of_step if x == numba.types.complex128 else _erf64

    for function, by_type in ((exp, _exp), (tanh, _tanh), (erf, _erf)):
        overload(function, jit_options={"fastmath": {"contract"}})(by_type)
