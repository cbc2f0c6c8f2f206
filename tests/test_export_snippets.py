"""The programs of model cards: each is run, beside the networks that it is for."""

import re

import numpy as np
import pytest

import klayer as kl
from export_kinds import KINDS, NEEDS, make, programs, rows_like, run
from klayer.data import Standardiser
from klayer.export.formats import EXPORTS

# One network alone has no population axis in ONNX.
FORMS = [("onnx", 1), *((name, 3) for name in EXPORTS)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders of exports, each written once."""
    folders = {}

    def folder(what, form, X, *key):
        if (form, *key) not in folders:
            path = folders[form, *key] = tmp_path_factory.mktemp("made") / "out"
            kl.export_model(what, path, to=form, X=X)
        return folders[form, *key]

    return folder


@pytest.mark.parametrize("needs", NEEDS)
@pytest.mark.parametrize(("form", "networks"), FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_program_answers_as_the_networks_do(
    kind, form, networks, needs, written, monkeypatch
):
    model, X = make(kind, networks), rows_like(5)[:50]
    folder = written(model, form, X, kind, networks)
    wanted = model.predict(X).mean(axis=0)
    for name, program in programs(folder, needs).items():
        answer, label = run(program, folder, monkeypatch, X.tolist())
        scale = 1 if model.targets is None else np.abs(wanted).max(axis=0) + 1
        assert answer.shape == wanted.shape, name
        assert (np.abs(answer - wanted) / scale).max() < 1e-5, name
        if label is not None and model.task == "classification":
            assert list(label) == [model.class_names[k] for k in wanted.argmax(axis=1)], name
        run(program, folder, monkeypatch)


def ensembles():
    flat = make("tanh", 2, n_features=12)
    rows = np.random.default_rng(1).normal(5, 2, (50, 12))
    images = kl.Model(flat.network, flat.params, {}, Standardiser.fit(rows), flat.class_names)
    regressors = [make("regression"), make("regression", 2, hidden=(3,))]
    several = [make("gelu", 2), make("skips, batch norm after"), make("linear", dtype=np.float64)]
    return {
        "several architectures": (kl.Ensemble(several, [0.4, 0.1, 0.3, 0.2]), rows_like(5)[:50]),
        "weights": (kl.Ensemble([make("layer norm", 3)], [0.5, 0.0, 0.25]), rows_like(5)[:50]),
        "mirror images": (kl.Ensemble([images], mirror=(1, 3, 4)), rows),
        "several, mirror images": (kl.Ensemble([images, images], [1, 0, 2, 2], (3, 2, 2)), rows),
        "regressions": (kl.Ensemble(regressors), rows_like(5)[:50]),
    }


@pytest.mark.parametrize("needs", NEEDS)
@pytest.mark.parametrize("form", EXPORTS)
@pytest.mark.parametrize("kind", ensembles())
def test_the_programs_of_ensembles_answer_as_they_do(kind, form, needs, written, monkeypatch):
    ensemble, X = ensembles()[kind]
    folder = written(ensemble, form, X, kind)
    wanted = ensemble.predict(X)
    for name, program in programs(folder, needs).items():
        answer, _ = run(program, folder, monkeypatch, X.tolist())
        assert (np.abs(answer - wanted) / (np.abs(wanted) + 1)).max() < 1e-5, name
        run(program, folder, monkeypatch)


@pytest.mark.parametrize("form", EXPORTS)
def test_programs_are_short_and_tidy(form, tmp_path):
    kl.export_model(make("batch norm", 2), tmp_path / "out", to=form)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(found) >= 2
    for program in found:
        lines = [line for line in program.splitlines() if line and "import" not in line]
        assert len(lines) <= 25
        assert max(map(len, program.splitlines())) <= 105
        assert not program.startswith("\n")
