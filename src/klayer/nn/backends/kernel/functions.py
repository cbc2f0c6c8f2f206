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

__all__ = ["DENSITY", "compiled", "compiled_and_kept", "exp", "log", "normal", "numba", "tanh"]

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


def log(x: Any) -> Any:
    """Return the natural logarithm."""
    return np.log(x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    return np.tanh(x)


ROOT_HALF, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


def normal(x: Any) -> Any:
    """Return the normal distribution; of a complex number to first order in its imaginary part."""
    slope = DENSITY * math.exp(-0.5 * x.real * x.real)
    value = 0.5 * (1 + math.erf(x.real * ROOT_HALF))
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

    def _log32(x: Any) -> Any:
        """A polynomial around 1 (Cephes), for x >= 1: of infinity infinity, of nan nan."""
        f = np.float32
        bits = f(x).view(np.int32)
        # x = 2^n m with m from sqrt(1/2) to sqrt(2).
        n = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
        m = np.int32(bits - (n << np.int32(23))).view(np.float32) - f(1)
        s = m * m
        p = (f(7.0376836292e-2) * m + f(-1.1514610310e-1)) * m + f(1.1676998740e-1)
        p = ((p * m + f(-1.2420140846e-1)) * m + f(1.4249322787e-1)) * m + f(-1.6668057665e-1)
        p = ((p * m + f(2.0000714765e-1)) * m + f(-2.4999993993e-1)) * m + f(3.3333331174e-1)
        found = m + (p * m * s - f(0.5) * s) + f(n) * f(0.69314718056)
        return found if x < f(np.inf) else x

    def _log(x: Any) -> Any:
        return _log32 if x == numba.types.float32 else log

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

    def _normal32(x: Any) -> Any:
        """Abramowitz & Stegun 26.2.17, to 7.5e-8: its exponential is the density's, and shared."""
        f = np.float32
        t = f(1) / (f(1) + f(0.2316419) * abs(x))
        p = (f(1.330274429) * t + f(-1.821255978)) * t + f(1.781477937)
        p = ((p * t + f(-0.356563782)) * t + f(0.319381530)) * t
        tail = p * f(DENSITY) * _exp_of_float32(f(-0.5) * x * x)
        return f(1) - tail if x > f(0) else tail

    def _normal64(x: Any) -> Any:
        return 0.5 * (1.0 + math.erf(x * ROOT_HALF))

    def _normal_of_step(x: Any) -> Any:
        slope = DENSITY * math.exp(-0.5 * x.real * x.real)
        return complex(0.5 * (1.0 + math.erf(x.real * ROOT_HALF)), slope * x.imag)

    def _normal(x: Any) -> Any:
        if x == numba.types.float32:
            return _normal32
        return _normal_of_step if x == numba.types.complex128 else _normal64

    for function, by_type in ((exp, _exp), (log, _log), (tanh, _tanh), (normal, _normal)):
        overload(function, jit_options={"fastmath": {"contract"}})(by_type)
