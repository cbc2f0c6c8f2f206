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


@pytest.fixture(scope="session")
def small_study(tmp_path_factory):
    """A study of 24 networks with its page, figures and tables; not to be changed."""
    from klayer.report import write_report
    from report_runs import make_study

    run = make_study(tmp_path_factory.mktemp("runs") / "small")
    write_report(run)
    return run


@pytest.fixture(scope="session")
def study_of_vectors(tmp_path_factory):
    """The same study of data that are no images; not to be changed."""
    from klayer.report import write_report
    from report_runs import make_npz, make_study

    folder = tmp_path_factory.mktemp("vectors")
    data = make_npz(folder / "three.npz", np.random.default_rng(20))
    run = make_study(folder / "run", data=str(data), published=[], seeds=2)
    write_report(run)
    return run
