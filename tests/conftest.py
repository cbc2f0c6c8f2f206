import os
from pathlib import Path

import numpy as np
import pytest

from klayer.data import load
from klayer.train import Feed, Settings


@pytest.fixture(scope="session")
def digits():
    return load("digits")


@pytest.fixture(scope="session")
def digits32(digits):
    return Feed(digits)


@pytest.fixture
def brief():
    """Settings for a training of a second or less."""
    return Settings(
        hidden=(16, 12), batch_size=50, cycles=1, half_cycle="1 epoch", points_per_cycle=4, l2=1e-3
    )


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def cifar10():
    """The real data set, from the folder that KLAYER_DATA names."""
    folder = os.environ.get("KLAYER_DATA")
    if not folder or not (Path(folder) / "cifar-10-batches-bin").is_dir():
        pytest.skip("KLAYER_DATA names no folder with cifar-10-batches-bin")
    return load("cifar10", data_dir=folder)
