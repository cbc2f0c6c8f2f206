"""What a run was made with: versions and machine."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from klayer.train import available_cores

__all__ = ["machine", "made_by", "versions"]

_PACKAGES = ("klayer", "numpy", "scipy", "threadpoolctl", "safetensors", "optuna")


def versions() -> dict[str, str]:
    """Return the versions of Python and of what results may depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def made_by() -> dict[str, Any]:
    """Return what the bits of a result follow from, beside its settings: processor and libraries.

    Of a BLAS its kernels count, which it chooses by the processor.
    """
    from threadpoolctl import threadpool_info

    about, found = machine(), versions()
    kernels = {str(pool["architecture"]) for pool in threadpool_info() if pool.get("architecture")}
    made: dict[str, Any] = {"cpu": about["cpu"], "blas": [*about["blas"], *sorted(kernels)]}
    made |= {name: found[name] for name in ("klayer", "numpy") if name in found}
    with contextlib.suppress(metadata.PackageNotFoundError):
        made["numba"] = metadata.version("numba")
    return made


def machine() -> dict[str, Any]:
    """Return system, processor, cores, memory (bytes, or None) and BLAS of this machine."""
    from threadpoolctl import threadpool_info

    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    memory = None
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    blas = [f"{pool['internal_api']} {pool.get('version')}" for pool in threadpool_info()]
    return {
        "system": f"{platform.system()} {platform.release()}",
        "cpu": cpu,
        "architecture": platform.machine(),
        "cores": available_cores(),
        "memory_bytes": memory,
        "blas": sorted(set(blas)),
    }
