"""Networks for other programs: the same answers, whole files, clear refusals."""

import copy
import json
import os
import pickle
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import pandas
import pytest
from typer.testing import CliRunner

import klayer as kl
from export_kinds import KINDS, make, rows_like
from klayer.cli.app import app
from klayer.data import Standardiser
from klayer.errors import KlayerError
from klayer.export.formats import EXPORTS
from klayer.files import Damaged, NotWritten


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of two arms, three seeds each."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "two.toml").write_text(
        'data = "digits"\nseeds = 3\n[settings]\ncycles = 1\nhalf_cycle = "1 epoch"\n'
        '[[arms]]\nname = "small"\nhidden = [5]\n'
        '[[arms]]\nname = "normal: yes"\nhidden = [6, 6]\nbatch_norm = "all"\n'
    )
    words = ["study", str(folder / "two.toml"), "--out", str(folder / "run"), "-q", "--no-report"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return folder / "run"


def export(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def quiet(model, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.predict(rows)


# What is read again answers as what was written.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_rows_get_the_same_answers_from_every_file(kind, dtype, tmp_path):
    model, X = make(kind, 2, dtype), rows_like(5, samples=10_000)
    wanted = kl.Ensemble([model]).predict(X)
    scale = 1 if model.targets is None else np.abs(wanted).max(axis=0) + 1
    for name in ("m.safetensors", "m.onnx"):
        written = kl.export_model(model, tmp_path / name, X=X)
        assert written.verified.rows == 10_000
        again = kl.load_model(tmp_path / name)
        apart = (np.abs(again.predict(X) - wanted) / scale).max()
        assert apart == 0 if name == "m.safetensors" else apart <= 1e-5
        assert again.task == model.task
        assert again.output_names == model.output_names


def test_one_network_is_a_model_again_bit_for_bit(tmp_path):
    model, X = make("skips, batch norm"), rows_like(5)
    kl.export_model(model, tmp_path / "m.safetensors")
    again = kl.load_model(tmp_path / "m.safetensors")
    assert isinstance(again, kl.Model)
    assert again.network == model.network
    assert again.class_names == model.class_names
    assert np.array_equal(again.predict(X), model.predict(X))
    for name, array in {**model.params, **model.running}.items():
        stored = {**again.params, **again.running}[name]
        assert stored.dtype == array.dtype
        assert np.array_equal(stored, array)


def test_the_graph_is_checked_by_hand(tmp_path):
    """Raw rows to probabilities, worked out without klayer's own functions."""
    model, X = make("batch norm"), rows_like(5)
    kl.export_model(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    [given] = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("X", "tensor(float)", ["N", 5])
    label, probs = session.run(None, {"X": X.astype(np.float32)})
    w = {key: value[0].astype(float) for key, value in {**model.params, **model.running}.items()}
    x = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 1e-9, X.std(axis=0), 1)
    for k in (1, 2):
        s = x @ w[f"W{k}"]
        root = np.sqrt(w[f"running_var{k}"] + model.network.bn_eps)
        x = np.maximum((s - w[f"running_mean{k}"]) / root * w[f"gamma{k}"] + w[f"beta{k}"], 0)
    z = np.exp(x @ w["W3"] + w["b3"])
    np.testing.assert_allclose(probs, z / z.sum(axis=1, keepdims=True), atol=1e-5)
    assert [f"c{k}" for k in z.argmax(axis=1)] == label.tolist()


def test_batch_norm_leaves_no_node_of_its_own(tmp_path):
    for kind in ("batch norm", "batch norm after"):
        kl.export_model(make(kind), tmp_path / f"{kind}.onnx")
        stored = onnx.load(tmp_path / f"{kind}.onnx")
        kinds = [node.op_type for node in stored.graph.node]
        assert kinds.count("MatMul") == kinds.count("Add") == 3
        assert "Mul" not in kinds
        assert [one.version for one in stored.opset_import] == [18]


@pytest.mark.parametrize("ending", ["onnx", "safetensors"])
def test_what_a_task_has_not_got_is_refused_by_whatever_was_loaded(tmp_path, ending):
    X = rows_like(5)
    for kind, method in (
        ("regression", "predict_labels"),
        ("regression", "predict_names"),
        ("multilabel", "predict_names"),
    ):
        written = kl.export_model(make(kind), tmp_path / f"{kind} {method}.{ending}", X=X)
        with pytest.raises(KlayerError, match=r"call `predict"):
            getattr(kl.load_model(written.files[0]), method)(X)


def test_several_networks_are_weighted(tmp_path):
    first, second = make("gelu", 2), make("skips", 1, np.float64)
    ensemble, X = kl.Ensemble([first, second], [0.5, 0.0, 0.25]), rows_like(5)
    for name in ("e.onnx", "e.safetensors"):
        kl.export_model(ensemble, tmp_path / name, X=X)
        again = kl.load_model(tmp_path / name)
        assert np.abs(again.predict(X) - ensemble.predict(X)).max() < 1e-5
    assert np.allclose(again.weights, [2 / 3, 1 / 3])


def test_mirror_images_go_with_an_ensemble(tmp_path, rng):
    made, X = make("relu", 2, n_features=12), rng.normal(5, 2, (50, 12))
    model = kl.Model(made.network, made.params, {}, Standardiser.fit(X), made.class_names)
    ensemble = kl.Ensemble([model], mirror=(1, 3, 4))
    assert np.abs(ensemble.predict(X) - kl.Ensemble([model]).predict(X)).max() > 1e-3
    for name in ("e.onnx", "e.safetensors"):
        kl.export_model(ensemble, tmp_path / name, X=X)
        again = kl.load_model(tmp_path / name)
        assert np.abs(again.predict(X) - ensemble.predict(X)).max() < 1e-5
    assert kl.load_model(tmp_path / "e.safetensors").mirror == (1, 3, 4)


def test_numbers_that_float32_cannot_tell_apart_are_taken_in_float64(tmp_path):
    network = kl.Network(2, (4,), 2)
    rows = 1.7e9 + np.random.default_rng(0).normal(0, 3, (100, 2))
    params = network.init("he", [0])
    model = kl.Model(network, params, {}, Standardiser.fit(rows), ["a", "b"])
    written = kl.export_model(model, tmp_path / "m.onnx", X=rows)
    assert written.verified.difference < 1e-6
    [given] = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_inputs()
    assert given.type == "tensor(double)"


@pytest.mark.parametrize("size", [1e-42, 1e37, 1e60])
def test_numbers_that_float32_does_not_have_are_taken_in_float64(size, tmp_path, rng):
    X = size * rng.standard_normal((60, 2))
    classifier = kl.KLayerClassifier(epochs=2, random_state=0).fit(X, X[:, 0] > 0)
    written = classifier.export(tmp_path / "m.onnx", X=X)
    assert written.verified.holds
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_inputs()[0].type == "tensor(double)"


@pytest.mark.parametrize("form", EXPORTS)
def test_the_same_networks_give_the_same_bytes(form, tmp_path):
    for name in ("a", "b"):
        kl.export_model(make("batch norm", 2), tmp_path / name, to=form)
    files = [sorted(one for one in (tmp_path / n).rglob("*") if one.is_file()) for n in "ab"]
    assert [one.read_bytes() for one in files[0]] == [one.read_bytes() for one in files[1]]


# Runs.


@pytest.mark.parametrize("form", EXPORTS)
def test_a_run_is_exported_beside_itself(study, form, tmp_path):
    run = shutil.copytree(study, tmp_path / "run")
    result = export(run, "--to", form)
    assert result.exit_code == 0, result.output
    assert "largest difference" in result.stdout
    card = (run / "export" / form / "README.md").read_text(encoding="utf-8")
    for said in ("# digits: classification", "fingerprint, features", "| 3 |", "## Versions"):
        assert said in card
    assert f"{kl.Run(run).best().score('test'):.4f}" in card
    assert "best by its validation score" in card
    again = export(run, "--to", form)
    assert "is there already" in str(again.exception)
    assert "--force" in str(again.exception)
    assert export(run, "--to", form, "--force").exit_code == 0
    with kl.Run(run):  # whoever goes on with the run is not in its way
        pass
    removed = CliRunner().invoke(app, ["runs", "remove", str(run), "--yes"])
    assert removed.exit_code == 0, removed.output
    assert not run.exists()


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ((), 1),
        (("best",), 1),
        (("all",), 6),
        (("small",), 3),
        (("normal: yes",), 3),
        (("normal: yes:2",), 1),
        (("small:1", "normal: yes:1", "small:1"), 2),
        (("2",), 2),
    ],
)
def test_networks_are_chosen_by_name(study, names, count, tmp_path):
    words = [word for name in names for word in ("--network", name)]
    result = export(study, "--to", "safetensors", "--out", tmp_path / "o", "--json", *words)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["networks"] == count
    assert [path.rpartition("/")[2] for path in said["files"]] == ["model.safetensors", "README.md"]
    predictor = kl.load_model(tmp_path / "o" / "model.safetensors")
    assert len(predictor) == count
    assert isinstance(predictor, kl.Model if count == 1 else kl.Ensemble)


def test_a_few_networks_are_scored_together(study, tmp_path):
    assert export(study, "--to", "csv", "--network", "all", "--out", tmp_path / "o").exit_code == 0
    run = kl.Run(study)
    ensemble = kl.Ensemble([run.model(one) for one in run.networks])
    test = run.load_data().splits["test"]
    score = ensemble.scores(test.features, test.labels)["accuracy"]
    card = (tmp_path / "o" / "README.md").read_text(encoding="utf-8")
    assert f"| test | accuracy | {score:.4f} |" in card
    values = [one.score("test") for one in run.networks]
    assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} | 6 |" in card


@pytest.mark.parametrize("form", EXPORTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_card_says_who_warns_of_rows_far_outside_the_training_data(form, dtype, tmp_path, rng):
    X = rng.normal(50, 5, size=(60, 3))
    population = kl.fit(X, X[:, 0] > 50, hidden=(4,), cycles=1, half_cycle="1 epoch", dtype=dtype)
    kl.export_model(population, tmp_path / "o", to=form)
    card = (tmp_path / "o" / "README.md").read_text(encoding="utf-8")
    limit = {"float32": "1e+30", "float64": "1e+300"}[dtype]
    assert "where they lie more than 10 of its standard deviations" in card
    assert f"Numbers more than {limit} of them away it refuses" in card
    if form == "csv":
        return
    [file] = [path for path in (tmp_path / "o").iterdir() if path.suffix == f".{form}"]
    model, far = kl.load_model(file), X * 1000
    if form == "onnx":
        assert np.isfinite(model.predict(far)).all()  # warnings are errors here
        return
    with pytest.warns(UserWarning, match="deviations of training away from its mean"):
        model.predict(far)
    with pytest.raises(KlayerError, match="near enough to the rows of training"):
        model.predict(X * float(limit) * 10)


def test_the_card_says_how_many_networks_have_no_answer(tmp_path):
    (tmp_path / "s.toml").write_text(
        'data = "digits"\nseeds = 2\n[settings]\ncycles = 1\nhalf_cycle = "1 epoch"\nhidden = [5]\n'
        '[[arms]]\nname = "calm"\n[[arms]]\nname = "wild"\nlr_max = 1e6\n'
    )
    words = ["study", str(tmp_path / "s.toml"), "--out", str(tmp_path / "run"), "-q", "--no-report"]
    assert CliRunner().invoke(app, words).exit_code == 0
    for names, said in (("all", True), ("calm", False)):
        words = ["--to", "csv", "--network", names, "--out", tmp_path / names]
        assert export(tmp_path / "run", *words).exit_code == 0
        card = (tmp_path / names / "README.md").read_text(encoding="utf-8")
        assert ("Besides, 2 diverged: not counted here, and without an answer." in card) is said


@pytest.mark.parametrize("rows", ["iris.csv", 3.0, [1.0, 2.0]])
def test_rows_to_verify_by_are_rows(rows, tmp_path):
    with pytest.raises(KlayerError, match="`X` must hold rows to verify by"):
        kl.export_model(make("relu"), tmp_path / "m.onnx", X=rows)


def test_an_unknown_network_is_named_with_the_known_ones(study):
    result = export(study, "--to", "csv", "--network", "smal")
    said = str(result.exception)
    assert "unknown network 'smal': did you mean 'small'?" in said
    assert "one network alone as ARM:SEED, 'small:0'" in said


def test_data_that_are_gone_are_drawn(study, tmp_path, monkeypatch):
    run = shutil.copytree(study, tmp_path / "run")
    monkeypatch.setattr(
        kl.Run, "load_data", lambda *_, **__: (_ for _ in ()).throw(KlayerError("gone."))
    )
    result = export(run, "--to", "onnx", "--network", "all")
    assert result.exit_code == 0, result.output
    assert "gone. The file was asked about drawn rows." in result.output
    card = (run / "export" / "onnx" / "README.md").read_text(encoding="utf-8")
    assert "| split | score | mean ± standard deviation | n |" in card
    assert "1,000 drawn rows" in card


# Refusals: nothing is written.


def test_answers_that_differ_are_not_written(tmp_path, monkeypatch):
    from klayer.export import onnx as room

    monkeypatch.setitem(room.ACTIVATIONS, "relu", lambda body, x: body.op("Tanh", x))
    with pytest.raises(
        KlayerError, match=r"must answer as the networks do, to 1e-05, but the onnx"
    ):
        kl.export_model(make("relu"), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_float64_is_tried_where_float32_is_too_far(tmp_path, monkeypatch):
    """Outputs of a size at which float32's last digit is a probability's fifth."""
    from klayer.export.formats import EXPORTS

    model, X = make("linear"), rows_like(5)
    form = EXPORTS["onnx"]
    tried = []

    def answers(files, what, rows):
        found = form.answers(files, what, rows)
        tried.append(found.dtype)
        return found + (1e-3 if found.dtype == np.float32 else 0)

    from dataclasses import replace

    monkeypatch.setitem(EXPORTS, "onnx", replace(form, answers=answers))
    kl.export_model(model, tmp_path / "m.onnx", X=X)
    assert tried == [np.float32, np.float64]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_outputs()[1].type == "tensor(double)"


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_without_its_packages_the_line_that_installs_them_is_told(name, tmp_path, monkeypatch):
    from klayer.export import onnx_graph

    real = onnx_graph.find_spec
    monkeypatch.setattr(onnx_graph, "find_spec", lambda one: None if one == name else real(one))
    with pytest.raises(KlayerError, match=rf"ONNX needs {name}, .*pip install 'klayer\[onnx\]'"):
        kl.export_model(make("relu"), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    kl.export_model(make("relu"), tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        ("m.onx", None, r"the format must be said, by `to` \(safetensors, onnx, csv\) or"),
        ("m", "onxx", "unknown format 'onxx': did you mean 'onnx'"),
        ("m.onnx", "csv", "the ending of the path must be that of the format"),
        ("gone/m.onnx", None, "there is no folder"),
        ("file", "csv", "file must be a folder"),
        ("folder.onnx", None, "must be a file, but a folder is there"),
        ("run/inputs.safetensors", None, "inputs.safetensors is a place of the run run itself"),
        ("run/weights/networks-1.safetensors", None, "is a place of the run run itself"),
        ("run/weights", "csv", "is a place of the run run itself"),
        (3, "csv", "`path` must be a path, but got 3"),
    ],
)
def test_places_that_cannot_be_are_refused(path, to, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "run" / "weights").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KlayerError, match=message):
        kl.export_model(make("relu"), path, to, force=path != "folder.onnx")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_files_of_the_users_are_kept(tmp_path):
    (tmp_path / "m.safetensors.md").write_text("mine")
    with pytest.raises(KlayerError, match=r"m\.safetensors\.md is there already"):
        kl.export_model(make("relu"), tmp_path / "m.safetensors")
    assert [one.name for one in tmp_path.iterdir()] == ["m.safetensors.md"]
    (tmp_path / "README.md").write_text("mine too")
    kl.export_model(make("relu"), tmp_path / "m.safetensors", force=True)
    assert (tmp_path / "README.md").read_text() == "mine too"


@pytest.mark.parametrize("form", EXPORTS)
def test_a_write_that_fails_leaves_nothing(form, tmp_path, monkeypatch):
    from klayer.export import write

    real, calls = write.write_bytes, []

    def fails(path, *content):
        calls.append(path)
        if len(calls) == 2:
            raise NotWritten(f"{path} can't be written: No space left on device.")
        real(path, *content)

    monkeypatch.setattr(write, "write_bytes", fails)
    with pytest.raises(NotWritten):
        kl.export_model(make("relu"), tmp_path / "out", to=form)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / ".out.unfinished").mkdir()  # of a kill
    kl.export_model(make("relu"), tmp_path / "out", to=form)
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("what", [3, None, "digits", np.zeros(3), kl.KLayerClassifier, kl.Model])
def test_what_is_no_network_is_refused(what, tmp_path):
    with pytest.raises(KlayerError, match="must be a Model, an Ensemble, a Population"):
        kl.export_model(what, tmp_path / "m.safetensors")


# Files that are not ours, or not whole.


@pytest.mark.parametrize("ending", ["safetensors", "onnx"])
def test_damage_is_found(ending, tmp_path):
    path = tmp_path / f"m.{ending}"
    kl.export_model(make("batch norm"), path)
    content = path.read_bytes()
    spoiled = [b"", content[:7], content[: len(content) // 2], content[:-1], b"{}" * 50]
    spoiled += [b"\x80\x04." + content, content + b"x", os.urandom(300)]
    spoiled.append(content.replace(b"classification", b"classificatiom"))
    for place in range(10, len(content), len(content) // 7):
        spoiled.append(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    for one in spoiled:
        path.write_bytes(one)
        with pytest.raises(Damaged, match=path.name):
            kl.load_model(path)


def test_files_of_others_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"W1": np.zeros((2, 2))}, tmp_path / "other.safetensors")
    with pytest.raises(
        Damaged,
        match="other.safetensors must hold networks that klayer wrote, but is a .safetensors file",
    ):
        kl.load_model(tmp_path / "other.safetensors")
    kl.export_model(make("relu"), tmp_path / "m.onnx")
    stored = onnx.load(tmp_path / "m.onnx")
    del stored.metadata_props[:]
    onnx.save(stored, tmp_path / "other.onnx")
    with pytest.raises(Damaged, match="must be an ONNX file that klayer wrote"):
        kl.load_model(tmp_path / "other.onnx")
    with pytest.raises(KlayerError, match="no such file: .*gone"):
        kl.load_model(tmp_path / "gone.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KlayerError, match="must be a run directory, or hold one of"):
        kl.load_model(tmp_path / "empty")


HOSTILE = {
    "no models": lambda plain, arrays: plain.update(models=[]),
    "models of another kind": lambda plain, arrays: plain.update(models=3),
    "more networks": lambda plain, arrays: plain["models"][0].update(networks=7),
    "an unknown activation": lambda p, a: p["models"][0]["network"].update(activation="x"),
    "another width": lambda p, a: p["models"][0]["network"].update(hidden=[9, 4]),
    "texts for widths": lambda p, a: p["models"][0]["network"].update(hidden=["a", "b"]),
    "an array less": lambda plain, arrays: arrays.pop("W1"),
    "whole numbers": lambda p, a: a.update(W1=a["W1"].astype(np.int64)),
    "a mean that is no number": lambda p, a: a.update(input_mean=a["input_mean"] * np.nan),
    "a mean of another length": lambda p, a: a.update(input_mean=a["input_mean"][:2]),
    "fewer names": lambda plain, arrays: plain.update(class_names=["a"]),
    "no weights": lambda plain, arrays: plain.update(weights=[]),
    "weights below zero": lambda plain, arrays: plain.update(weights=[-1, 2]),
    "an encoder of another kind": lambda plain, arrays: plain.update(encoder=[{"kind": "x"}]),
    "an encoder that is a number": lambda plain, arrays: plain.update(encoder=5),
    "a mirror of nothing": lambda plain, arrays: plain.update(mirror=["a"]),
    "nothing said": lambda plain, arrays: plain.pop("about"),
    "about in a list": lambda plain, arrays: plain.update(about=[1, 2]),
    "data that are a number": lambda plain, arrays: plain.update(about={"data": 3}),
    "images of another size": lambda p, a: p.update(about={"data": {"image_shape": [1, 2, 3]}}),
    "images of no shape": lambda p, a: p.update(about={"data": {"image_shape": "abc"}}),
    "a range upside down": lambda p, a: p.update(about={"data": {"value_range": [1, 0]}}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_with_a_right_digest_and_wrong_content_is_refused(case, tmp_path):
    from klayer.files import read_arrays, write_arrays

    path = tmp_path / "m.safetensors"
    kl.export_model(make("batch norm", 2), path)
    arrays, plain = read_arrays(path)
    HOSTILE[case](plain, arrays)
    write_arrays(path, arrays, plain)
    with pytest.raises(KlayerError, match=r"m\.safetensors"):
        kl.load_model(path)


# Odd names.

ODD = ["a,b", 'quo"te', "é ☃ 🐱", "=1+1", "new\nline", "|pipe|`tick`", "<b>", "{{x}}", "\udcff", ""]


@pytest.mark.parametrize("form", EXPORTS)
def test_odd_names_of_classes_go_through(form, tmp_path):
    made = make("relu", n_classes=len(ODD))
    model = kl.Model(made.network, made.params, {}, made.standardiser, ODD)
    kl.export_model(model, tmp_path / "o", to=form)
    card = (tmp_path / "o" / "README.md").read_text(encoding="utf-8")
    assert "<b>" not in card.replace('"<b>"', "")
    if form == "csv":
        return
    again = kl.load_model(tmp_path / "o")
    assert again.class_names == tuple(ODD)
    if form == "onnx":
        X = rows_like(5)
        labels = again.run(X)[0]
        names = [
            one.encode("utf-8", "backslashreplace").decode() for one in model.predict_names(X)[0]
        ]
        assert labels.tolist() == names


# Estimators.


@pytest.mark.parametrize("labels", [[3, 7, 11], ["no", "yes", "é,"], [2.0, 3.0], [False, True]])
def test_an_estimators_labels_are_the_graphs(labels, tmp_path):
    random = np.random.default_rng(2)
    X = random.standard_normal((120, 4))
    y = np.array(labels)[random.integers(0, len(labels), 120)]
    model = kl.KLayerClassifier(hidden=(8,), epochs=3, n_networks=2, random_state=0).fit(X, y)
    written = model.export(tmp_path / "m.onnx", X=X)
    assert written.verified.difference <= 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    label, probs = session.run(None, {"X": X.astype(session_type(session))})
    assert np.abs(probs - model.predict_proba(X)).max() < 1e-5
    assert label.dtype.kind == np.array(labels).dtype.kind or label.dtype == object
    assert label.tolist() == model.predict(X).tolist()


def session_type(session):
    return {"tensor(float)": np.float32, "tensor(double)": np.float64}[session.get_inputs()[0].type]


def test_temperatures_go_along(digits, tmp_path):
    X, y = digits.splits["train"].features, digits.splits["train"].labels
    model = kl.KLayerClassifier(hidden=(20,), epochs=4, calibrate=True, random_state=0).fit(X, y)
    assert model.temperature_ != 1
    for name in ("m.onnx", "m.safetensors"):
        model.export(tmp_path / name, X=X)
        found = kl.load_model(tmp_path / name).predict(X)
        found = found[0] if found.ndim == 3 else found
        assert np.abs(found - model.predict_proba(X)).max() < 1e-5
        assert f"| {model.temperature_:.4g} |" in (tmp_path / f"{name}.md").read_text("utf-8")
    assert kl.load_model(tmp_path / "m.safetensors").temperatures.tolist() == [model.temperature_]
    [given] = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_inputs()
    assert given.type == "tensor(float)"


@pytest.mark.parametrize("columns", [1, 2])
def test_a_regressor_answers_in_the_users_units(columns, tmp_path):
    random = np.random.default_rng(2)
    X = random.standard_normal((200, 3)).astype(np.float32)
    y = 1e6 + 50 * (X @ random.standard_normal((3, columns)))
    model = kl.KLayerRegressor(hidden=(8,), epochs=5, random_state=0).fit(X, y)
    for name in ("m.onnx", "m.safetensors"):
        kl.export_model(model, tmp_path / name, X=X)
        found = kl.load_model(tmp_path / name).predict(X)
        found = found[0] if found.ndim == 3 else found
        assert np.abs(found - model.predict(X).reshape(len(X), -1)).max() < 1e-3


def test_an_estimator_of_several_labels(tmp_path):
    random = np.random.default_rng(2)
    X = random.standard_normal((200, 3))
    y = (X @ random.standard_normal((3, 4)) > 0).astype(int)
    model = kl.KLayerClassifier(hidden=(8,), epochs=5, random_state=0).fit(X, y)
    model.export(tmp_path / "m.onnx")
    label, probs = kl.load_model(tmp_path / "m.onnx").run(X)
    assert label.tolist() == model.predict(X).tolist()
    assert np.abs(probs - model.predict_proba(X)).max() < 1e-5


def test_an_estimator_of_a_frame_has_inputs_by_name(tmp_path):
    random = np.random.default_rng(2)
    X = pandas.DataFrame(random.standard_normal((100, 3)), columns=["a b", "label", "W1"])
    y = random.integers(0, 2, 100)
    model = kl.KLayerClassifier(hidden=(8,), epochs=3, random_state=0).fit(X, y)
    model.export(tmp_path / "m.onnx", X=X)
    again = kl.load_model(tmp_path / "m.onnx")
    turned = X[["W1", "a b", "label"]]  # columns go by name
    assert np.abs(again.predict(turned) - model.predict_proba(X)).max() < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [one.name for one in session.get_inputs()] == ["a b", "label_in", "W1"]


@pytest.mark.parametrize("keep", ["best", "ensemble"])
def test_what_a_search_keeps_is_exported(keep, tmp_path):
    random = np.random.default_rng(2)
    X = random.standard_normal((150, 3))
    y = np.array(["no", "yes", "maybe"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
    search = kl.PopulationSearchCV(
        kl.KLayerClassifier(epochs=3, random_state=0),
        {"hidden": [(4,), (6,)], "l2": "1e-4:1e-1"},
        n_iter=4,
        cv=3,
        keep=keep,
        random_state=0,
    ).fit(X, y)
    for name in ("m.onnx", "m.safetensors"):
        search.best_estimator_.export(tmp_path / name, X=X)
        kl.export_model(search, tmp_path / f"search {name}", X=X)
        own, same = tmp_path / name, tmp_path / f"search {name}"
        assert own.read_bytes() == same.read_bytes()
        found = kl.load_model(tmp_path / name).predict(X)
        found = found[0] if found.ndim == 3 else found
        assert np.abs(found - search.predict_proba(X)).max() < 1e-5


def test_networks_behind_the_steps_of_a_pipeline_are_refused(tmp_path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(2)
    X, y = random.standard_normal((90, 3)), random.integers(0, 2, 90)
    search = kl.PopulationSearchCV(
        make_pipeline(StandardScaler(), kl.KLayerClassifier(epochs=2, random_state=0)),
        {"klayerclassifier__l2": [1e-3, 1e-2]},
        n_iter=2,
        cv=3,
        keep="ensemble",
        random_state=0,
    ).fit(X, y)
    with pytest.raises(KlayerError, match="but got Pipeline: export its last step"):
        kl.export_model(make_pipeline(StandardScaler(), kl.KLayerClassifier()), tmp_path / "m.onnx")
    with pytest.raises(KlayerError, match="only together with the steps of a Pipeline"):
        search.best_estimator_.export(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_estimator_that_is_not_fitted_says_so(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        kl.KLayerClassifier().export(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


# Populations, and whatever else can be read.


def test_a_population_and_a_run_are_read_too(digits, brief, study, tmp_path):
    population = kl.fit(digits, brief, seeds=2)
    rows = digits.splits["test"].features
    path = population.save(tmp_path / "population")
    assert np.array_equal(kl.load_model(path).predict(rows), population.model().predict(rows))
    run = kl.Run(study)
    assert np.array_equal(kl.load_model(study).predict(rows), run.model().predict(rows))
    written = kl.export_model(population, tmp_path / "p.onnx")
    assert written.verified.what == "rows of digits"
    said = kl.export_model(run, tmp_path / "r.safetensors").verified
    assert (said.difference, said.what) == (0, "rows of digits")
    card = (tmp_path / "p.onnx.md").read_text(encoding="utf-8")
    score = population.evaluate("test")["accuracy"].mean()
    assert f"| test | accuracy | {score:.4f} ±" in card


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_predict_takes_an_exported_file(study, form, tmp_path):
    rows = kl.load("digits").splits["test"].features[:5]
    np.save(tmp_path / "rows.npy", rows)
    assert export(study, "--to", form, "--out", tmp_path / "o").exit_code == 0
    said = []
    for who in (study, tmp_path / "o", tmp_path / "o" / f"model.{form}"):
        result = CliRunner().invoke(app, ["predict", str(who), str(tmp_path / "rows.npy")])
        assert result.exit_code == 0, result.output
        said.append(result.stdout)
    assert said[0] == said[1] == said[2]
    for option in ("--seed=0", "--seed=1", "--ensemble", "--mirror"):
        words = ["predict", str(tmp_path / "o"), str(tmp_path / "rows.npy"), option]
        said = str(CliRunner().invoke(app, words).exception)
        assert f"{option.partition('=')[0]} is about the networks of a run" in said


def test_a_run_that_holds_an_exported_file_is_asked_as_a_run(study, tmp_path):
    run = shutil.copytree(study, tmp_path / "run")
    np.save(tmp_path / "rows.npy", kl.load("digits").splits["test"].features[:5])
    ask = ["predict", str(run), str(tmp_path / "rows.npy"), "--ensemble"]
    before = CliRunner().invoke(app, ask)
    assert before.exit_code == 0, before.output
    assert export(run, "--to", "onnx", "--network", "small", "--out", run).exit_code == 0
    assert CliRunner().invoke(app, ask).stdout == before.stdout


def test_tables_are_not_asked_again(tmp_path):
    kl.export_model(make("relu"), tmp_path / "m", to="csv")
    np.save(tmp_path / "rows.npy", np.zeros((1, 5)))
    with pytest.raises(KlayerError, match="holds tables, which are for people: export"):
        kl.load_model(tmp_path / "m")
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "m"), str(tmp_path / "rows.npy")])
    assert "holds tables, which are for people" in str(result.exception)


@pytest.mark.parametrize("name", ["run.json", "summary.json", "trials.csv", "tables/results.csv"])
def test_predictions_never_replace_what_a_run_is_made_of(study, name, tmp_path):
    run = shutil.copytree(study, tmp_path / "run")
    (run / "tables").mkdir()
    np.save(tmp_path / "rows.npy", kl.load("digits").splits["test"].features[:2])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    words = ["predict", str(run), str(tmp_path / "rows.npy"), "--out", str(run / name)]
    assert "is a place of the run run itself" in str(CliRunner().invoke(app, words).exception)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    words[-1] = str(run / "mine.csv")
    assert CliRunner().invoke(app, words).exit_code == 0


@pytest.mark.parametrize("ending", ["safetensors", "onnx"])
def test_what_was_read_can_be_copied_and_pickled(ending, tmp_path):
    X = rows_like(5, samples=4)
    kl.export_model(make("relu", 2), tmp_path / f"m.{ending}", X=X)
    model = kl.load_model(tmp_path / f"m.{ending}")
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("ending", ["safetensors", "onnx"])
def test_rows_without_a_finite_answer_are_refused(ending, tmp_path):
    X = rows_like(5, samples=4)
    kl.export_model(make("relu", 2), tmp_path / f"m.{ending}", X=X)
    X[2, 1] = 1e300
    with pytest.raises(KlayerError, match="row 2.* must be near enough to the rows of training"):
        kl.load_model(tmp_path / f"m.{ending}").predict(X)
