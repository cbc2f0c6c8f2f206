"""Made-up data of any shape: Gaussian clouds, several per class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klayer.data.dataset import SPLITS, Dataset, Split
from klayer.data.source import Request, Source, always
from klayer.data.splitting import check_seed
from klayer.errors import KlayerError, unknown_name

__all__ = ["SOURCE", "load", "parse_options"]

# Two clouds per class make the classes inseparable by planes, so that hidden layers have a task.
CLOUDS_PER_CLASS = 2
# Distance between two centres, on average, in standard deviations of a cloud.
SEPARATION = 6.0
OPTIONS = ("features", "classes", "samples", "validation", "test", "seed")


def parse_options(text: str) -> dict[str, int]:
    """Read the options behind ``synthetic:``.

    Raises
    ------
    KlayerError
        If an option is unknown, given twice, or not a whole number.

    Examples
    --------
    >>> parse_options("features=50,classes=3")
    {'features': 50, 'classes': 3}
    >>> parse_options("feature=50")
    Traceback (most recent call last):
    klayer.errors.KlayerError: unknown option of `synthetic` 'feature': did you mean 'features'? \
Known: features, classes, samples, validation, test, seed.
    """
    options: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in OPTIONS:
            raise unknown_name("option of `synthetic`", key, OPTIONS)
        if key in options:
            raise KlayerError(f"options of `synthetic` must be given once, but {key} comes twice.")
        if not equals or not value.replace("_", "").isdecimal():
            raise KlayerError(
                f"an option of `synthetic` must be a whole number, but got {item!r}: write for "
                f"example {key}=50."
            )
        options[key] = int(value)
    return options


def load(
    features: int = 3072,
    classes: int = 10,
    samples: int = 5000,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Dataset:
    r"""Draw Gaussian clouds: a task of known shape that needs no file.

    Each class has two clouds with unit variance around centres :math:`c \sim N(0, s^2 I_D)`, where
    :math:`s = 6 / \sqrt{2 D}` puts two centres 6 apart whatever D is. The same arguments give the
    same bits on the same NumPy.

    Parameters
    ----------
    features : int
        D, at least 1; 3,072 rows are shaped like CIFAR-10's images, (3, 32, 32).
    classes : int
        K, at least 2.
    samples : int
        Training samples, at least K; the classes are of equal size, give or take one sample.
    validation, test : int, optional
        Samples of the other splits, by default a fifth of `samples`.
    seed : int
        Centres, noise and order follow from it.

    Returns
    -------
    Dataset
        Features in float32.

    Examples
    --------
    >>> cloud = load(features=2, classes=3, samples=30, seed=1)
    >>> cloud.splits["train"].features.shape, len(cloud.splits["test"])
    ((30, 2), 6)
    """
    held_out = max(1, samples // 5)
    counts = {
        "train": samples,
        "validation": held_out if validation is None else validation,
        "test": held_out if test is None else test,
    }
    for rule, value, least in (
        ("features", features, 1),
        ("classes", classes, 2),
        ("samples", samples, classes),
        ("validation", counts["validation"], 1),
        ("test", counts["test"], 1),
    ):
        if value < least:
            why = ", one per class" if rule == "samples" and least > 2 else ""
            raise KlayerError(f"synthetic: {rule} must be at least {least}{why}, but got {value}.")
    generator = np.random.default_rng(check_seed(seed))
    spread = SEPARATION / np.sqrt(2 * features)
    centres = spread * generator.standard_normal((CLOUDS_PER_CLASS, classes, features))
    try:
        splits = {
            name: _draw(generator, centres.astype(np.float32), counts[name]) for name in SPLITS
        }
    except MemoryError:
        raise KlayerError(
            f"synthetic: {sum(counts.values()):,} samples of {features:,} features don't fit into "
            "memory: ask for fewer."
        ) from None
    return Dataset(
        "synthetic",
        splits,
        tuple(f"class {index}" for index in range(classes)),
        (3, 32, 32) if features == 3072 else None,
        source=f"made-up Gaussian clouds, features={features}, classes={classes}, "
        f"samples={samples}, seed={seed}",
    )


def _draw(generator: np.random.Generator, centres: NDArray[np.float32], rows: int) -> Split:
    clouds, classes, features = centres.shape
    labels = generator.permutation(np.arange(rows) % classes)
    values = generator.standard_normal((rows, features), dtype=np.float32)
    values += centres[generator.integers(clouds, size=rows), labels]  # (N, D) of (clouds, K, D)
    return Split(values, labels)


def _load(request: Request) -> Dataset:
    return load(**{"seed": request.seed, **parse_options(request.options or "")})


SOURCE = Source(
    name="synthetic",
    description="Gaussian clouds; any shape: synthetic:features=50,classes=3,samples=1000,seed=1",
    load=_load,
    find=always("made when asked for"),
    shape="3 x 32 x 32",
    n_classes=10,
    sizes=(5_000, 1_000, 1_000),
    has_options=True,
)
