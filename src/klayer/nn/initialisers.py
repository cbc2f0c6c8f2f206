"""How weights start: He, Xavier, LeCun, or a Gaussian of one width for all layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from klayer.errors import KlayerError, unknown_name

__all__ = ["Initialiser"]


@dataclass(frozen=True)
class Initialiser:
    """A normal distribution with mean 0 for the weights of a layer.

    =============== ============================ =======================================
    name            standard deviation           source
    =============== ============================ =======================================
    ``he``          ``sqrt(2 / fan_in)``         He et al. 2015, arXiv:1502.01852
    ``xavier``      ``sqrt(1 / fan_in)``         Glorot & Bengio 2010, normal, fan-in form
    ``lecun``       ``sqrt(1 / fan_in)``         LeCun et al. 1998, "Efficient BackProp"; the same width
    ``gaussian``    ``sigma``, in every layer
    =============== ============================ =======================================

    Parameters
    ----------
    name : {"he", "xavier", "lecun", "gaussian"}
    sigma : float, optional
        Standard deviation, > 0; for ``gaussian``, and only there.

    Raises
    ------
    KlayerError
        For an unknown name, or a sigma that is missing, superfluous or not a positive number.

    Examples
    --------
    >>> Initialiser.parse("gaussian:1e-3").std(fan_in=3072)
    0.001
    >>> str(Initialiser("he")), Initialiser("he").std(fan_in=2)
    ('he', 1.0)
    """

    name: str
    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.name not in ("he", "xavier", "lecun", "gaussian"):
            raise unknown_name(
                "initialiser", self.name, ["he", "xavier", "lecun", "gaussian:SIGMA"]
            )
        if self.name != "gaussian" and self.sigma is not None:
            raise KlayerError(
                f"initialiser {self.name!r} takes no sigma, but got {self.sigma!r}: "
                "its width follows from the layer's fan-in."
            )
        if self.name == "gaussian" and not (
            isinstance(self.sigma, int | float) and 0 < self.sigma < math.inf
        ):
            raise KlayerError(
                f"initialiser 'gaussian' needs a sigma > 0, but got {self.sigma!r}: "
                "write for example gaussian:1e-3."
            )

    @classmethod
    def parse(cls, text: str | Initialiser) -> Initialiser:
        """Read ``"he"``, ``"xavier"``, ``"lecun"`` or ``"gaussian:SIGMA"``."""
        if isinstance(text, Initialiser):
            return text
        name, colon, sigma = str(text).strip().partition(":")
        if not colon:
            return cls(name)
        try:
            return cls(name, float(sigma))
        except ValueError as error:
            if isinstance(error, KlayerError):
                raise
            raise KlayerError(
                f"initialiser {name!r} needs a number after the colon, but got {sigma!r}: "
                "write for example gaussian:1e-3."
            ) from None

    def __str__(self) -> str:
        return self.name if self.sigma is None else f"{self.name}:{self.sigma!r}"

    def std(self, fan_in: int) -> float:
        """Return the standard deviation for a layer with ``fan_in`` >= 1 inputs."""
        if self.sigma is not None:
            return float(self.sigma)
        return math.sqrt((2 if self.name == "he" else 1) / fan_in)
