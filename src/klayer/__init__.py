"""klayer trains fully connected networks hundreds at a time, proves its gradients, reports a study.

>>> import klayer as kl
>>> data = kl.load("digits")
>>> settings = kl.Settings(hidden=(50, 50), batch_norm="hidden", batch_size=20, l2=1e-3)
>>> population = kl.fit(data, settings, seeds=range(4))
>>> accuracy = population.evaluate("test")["accuracy"]
>>> accuracy.shape, bool((accuracy > 0.9).all())
((4,), True)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Where each public name lives; a name is imported when it is first used. None may be called like a
# sub-package (`train`): importing that would put the module in the name's place.
_HOMES = {
    "Dataset": "klayer.data",
    "load": "klayer.data",
    "KlayerError": "klayer.errors",
    "Initialiser": "klayer.nn",
    "Network": "klayer.nn",
    "Engine": "klayer.train",
    "Ensemble": "klayer.train",
    "Member": "klayer.train",
    "Population": "klayer.train",
    "Settings": "klayer.train",
    "Feed": "klayer.train",
    "Trainer": "klayer.train",
    "find_lr": "klayer.train",
    "fit": "klayer.train",
    "fit_together": "klayer.train",
    "load_population": "klayer.train",
    "OnnxModel": "klayer.export",
    "export_model": "klayer.export",
    "load_model": "klayer.export",
    "KLayerClassifier": "klayer.estimator",
    "KLayerRegressor": "klayer.estimator",
    "PopulationSearchCV": "klayer.estimator",
    "check_gradients": "klayer.gradcheck",
    "check_network": "klayer.gradcheck",
    "Model": "klayer.model",
    "reliability": "klayer.calibration",
    "Bars": "klayer.study",
    "Run": "klayer.study",
    "Study": "klayer.study",
    "read_study": "klayer.study",
    "run_of": "klayer.study",
    "resume_search": "klayer.study.launch",
    "resume_study": "klayer.study.launch",
    "run_search": "klayer.study.launch",
    "run_study": "klayer.study.launch",
    "Chart": "klayer.report",
    "compare_runs": "klayer.report",
    "plot_accuracy": "klayer.report",
    "plot_curves": "klayer.report",
    "write_report": "klayer.report",
}

__all__ = sorted(["__version__", *_HOMES])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":  # reading it takes longer than all else here
        from importlib import metadata

        return metadata.version("klayer")
    raise AttributeError(f"module 'klayer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
