"""The programs of model cards: each is run, beside the networks that it is for."""

import numpy as np
import pytest

import klayer as kl
from export_kinds import KINDS, make, programs, rows_like, run
from klayer.export.formats import EXPORTS

# One network alone has no population axis in ONNX.
FORMS = [("onnx", 1), *((name, 3) for name in EXPORTS)]


@pytest.mark.parametrize(("form", "networks"), FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_program_answers_as_the_networks_do(kind, form, networks, tmp_path, monkeypatch):
    model, X = make(kind, networks), rows_like(5)[:50]
    written = kl.export_model(model, tmp_path / "out", to=form, X=X)
    assert written.verified.holds
    wanted = model.predict(X).mean(axis=0)
    found = programs(tmp_path / "out")
    assert set(found) >= {"NumPy", "PyTorch"}
    for name, program in found.items():
        if name == "PyTorch":
            pytest.importorskip("torch")
        answer, label = run(program, tmp_path / "out", monkeypatch, X.tolist())
        scale = 1 if model.targets is None else np.abs(wanted).max(axis=0) + 1
        assert answer.shape == wanted.shape, name
        assert (np.abs(answer - wanted) / scale).max() < 1e-5, name
        if label is not None and model.task == "classification":
            assert list(label) == [model.class_names[k] for k in wanted.argmax(axis=1)], name
        run(program, tmp_path / "out", monkeypatch)
