"""`klayer gradcheck`: exit status, output, errors; the examples run."""

import importlib
import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from klayer import gradcheck
from klayer.cli.gradcheck import gradcheck as command
from klayer.errors import KlayerError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command as it is mounted in the application; errors of use come out as they are."""
    app = typer.Typer()
    app.command("gradcheck")(command)
    app.callback()(lambda: None)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(app, ["gradcheck", *map(str, arguments)])
        if isinstance(result.exception, KlayerError):
            raise result.exception
        return result

    return run


@pytest.fixture
def model(tmp_path):
    """Write a file with a model."""

    def write(text, name="model.py"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


SQUARE = """
def f(params):
    a = params["a"]
    return (a**2).sum(), {"a": FACTOR * a.real}

def model():
    import numpy as np
    return f, {"a": np.arange(1.0, 6.0)}
"""


def test_the_report_is_repeated_when_no_model_is_named(run, tmp_path):
    result = run("--html", tmp_path / "section.html")
    assert result.exit_code == 0
    assert "the report's section 1" in result.stdout
    deepest = [line.split() for line in result.stdout.splitlines() if line.startswith("9 layers")]
    assert len(deepest) == 18 + 26 + 27
    assert {(line[4], line[5], line[-1]) for line in deepest} == {("-", "-", "right")}
    for part in ("2 layers", "3 layers", "9 layers", "hidden", "all", "-1.9e-03", "right"):
        assert part in result.stdout
    html = (tmp_path / "section.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert html.count("<table") == 9
    assert "written:" in result.stderr


def test_a_right_model_exits_with_0_and_a_wrong_one_with_1(run, model):
    right = run(model(SQUARE.replace("FACTOR", "2")) + ":model")
    assert right.exit_code == 0
    assert right.stdout.startswith("The gradient is right.")
    wrong = run(model(SQUARE.replace("FACTOR", "1")) + ":model")
    assert wrong.exit_code == 1
    assert "a is half of what it should be" in wrong.stdout


def test_options_reach_the_check(run, model):
    result = run(
        model(SQUARE.replace("FACTOR", "2.02")) + ":model", "--method", "forward", "--entries", 2,
        "--tolerance", 0.1, "--seed", 3, "--array", "a", "--json",
    )  # fmt: skip
    data = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (data["method"], data["tolerance"], data["seed"]) == ("forward", 0.1, 3)
    assert data["rows"][0]["checked"] == 2


def test_a_page_is_written_beside_json(run, model, tmp_path):
    result = run(model(SQUARE.replace("FACTOR", "3")) + ":model", "--json", "--html", "out.html")
    assert json.loads(result.stdout)["ok"] is False
    html = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<title>Gradient check: model.py:model</title>" in html
    assert "a factor" not in html
    assert "1.5 times what it should be" in html


def test_a_model_may_be_an_object_that_tells_more(run, model):
    text = """
import numpy as np
import neighbour

class Model:
    params = {"W": np.ones((2, 3)) + np.arange(3)}
    l2, samples = 0.5, 4
    def loss_and_grads(self, params):
        W = params["W"]
        return neighbour.loss(W), {"W": (np.exp(W) + 0.5 * W).real}
    def kinks(self, params):
        return [params["W"] - 1]

def make():
    return Model()
"""
    model("def loss(W):\n    import numpy as np\n    return (np.exp(W) + 0.5 * W**2).sum()\n",
          "neighbour.py")  # fmt: skip
    result = run(model(text) + ":make")
    assert result.exit_code == 1
    assert "missing factor 2 in the L2 gradient of W" in result.stdout
    assert "2 units at or near a kink" in result.stdout


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        ("model.py", "", "the model must be FILE.py:FUNCTION, but got 'model.py'"),
        (":f", "", "the model must be FILE.py:FUNCTION, but got ':f'"),
        ("none.py:f", "", "there is no file 'none.py'"),
        ("model.py:modle", SQUARE, "unknown function in model.py 'modle': did you mean 'model'"),
        ("model.py:f", "", "unknown function in model.py 'f': Known: none"),
        ("model.py:f", SQUARE, "must work without arguments, but raised TypeError"),
        ("model.py:f", "def f(:", "model.py could not be loaded: SyntaxError"),
        ("model.py:f", "import nosuchthing", "could not be loaded: ModuleNotFoundError"),
        ("no.such.module:f", "", "no.such.module could not be loaded: ModuleNotFoundError"),
        (
            "model.py:f",
            "def f():\n    return 3",
            r"must return \(loss_and_grads, params\).*got int",
        ),
        (
            "model.py:f",
            "def f():\n    from klayer.errors import KlayerError\n    raise KlayerError('mine')",
            "mine",
        ),
        (
            "model.py:f",
            "def f():\n    import numpy\n    return (lambda p: 1 / 0), {'a': numpy.ones(2)}",
            "model.py:f failed while it was checked: ZeroDivisionError: division by zero",
        ),
        (
            "model.py:f",
            "def f():\n    import numpy\n    return (lambda p: (0.0, {})), {'a': numpy.ones(2)}",
            "the gradients lack 'a'",
        ),
    ],
)
def test_wrong_use_is_told_in_one_sentence(run, model, target, text, message):
    if text:
        model(text)
    elif target.startswith("model.py:"):
        model("")
    with pytest.raises(KlayerError, match=message):
        run(target)


def test_options_without_a_model_are_refused(run):
    with pytest.raises(KlayerError, match=r"need a model, FILE\.py:FUNCTION"):
        run("--method", "central")


@pytest.mark.parametrize(
    ("library", "cause"),
    [
        ("numpy", "missing factor 2 in the L2 gradient of W1 and W2"),
        ("torch", "everything from layer 1 down is wrong"),
        ("jax", "everything from layer hidden down is wrong"),
    ],
)
def test_the_examples_tell_right_from_wrong(run, library, cause):
    pytest.importorskip(library, reason=f"the example needs {library}, which isn't installed")
    path = ROOT / "examples" / f"gradcheck_{library}.py"
    right = run(f"{path}:correct")
    assert right.exit_code == 0, right.stdout
    wrong = run(f"{path}:wrong")
    assert wrong.exit_code == 1
    assert cause in " ".join(wrong.stdout.split())
    methods = {"numpy": "complex step", "torch": "central differences", "jax": "complex step"}
    assert f"method: {methods[library]}" in right.stdout


def test_a_torch_model_in_float32_is_checked_as_far_as_it_goes():
    torch = pytest.importorskip("torch", reason="needs torch, which isn't installed")
    import numpy as np

    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    x = torch.randn(8, 4)

    def function(params, factor=1.0):
        weight = torch.tensor(params["weight"], dtype=torch.float32, requires_grad=True)
        bias = torch.tensor(params["bias"], dtype=torch.float32, requires_grad=True)
        loss = torch.relu(torch.nn.functional.linear(x, weight, bias)).pow(2).mean()
        weight_grad, bias_grad = torch.autograd.grad(loss, [weight, bias])
        return loss.item(), {
            "weight": np.asarray(weight_grad),
            "bias": factor * np.asarray(bias_grad),
        }

    params = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    check = gradcheck.check_gradients(function, params)
    assert (check.verdict, check.precision) == ("right", "float32"), check.text()
    assert not gradcheck.check_gradients(lambda p: function(p, 1.1), params).ok


def test_every_public_name_and_option_is_documented():
    text = (ROOT / "docs" / "gradcheck.md").read_text(encoding="utf-8")
    for name in gradcheck.__all__:
        assert f"`{name}" in text, name
    for option in ("--method", "--array", "--entries", "--tolerance", "--seed", "--json", "--html"):
        assert f"`{option}" in text, option
    for mistake in gradcheck.MISTAKES:
        assert f"`{mistake}`" in text, mistake


def test_the_public_surface_is_what_the_package_lists():
    module = importlib.import_module("klayer.gradcheck")
    assert all(hasattr(module, name) for name in module.__all__)
    assert sorted(module.__all__, key=str.lower) == sorted(set(module.__all__), key=str.lower)


def test_the_derivations_hold_every_equation_that_the_code_cites():
    cited = set()
    for path in (ROOT / "src" / "klayer" / "nn").rglob("*.py"):
        for first, last in re.findall(
            r"equations? (\d+)(?: to (\d+))?", path.read_text(encoding="utf-8")
        ):
            cited |= set(range(int(first), int(last or first) + 1))
    text = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
    numbered = {int(number) for number in re.findall(r"^\*\*\((\d+)\)\*\*", text, re.MULTILINE)}
    assert cited <= numbered
    assert numbered == set(range(1, 38))
