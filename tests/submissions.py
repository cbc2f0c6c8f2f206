"""Thirty submissions to an assignment: right, wrong, and all that else is handed in."""

from pathlib import Path

# A network with a hidden layer; each mistake replaces one line of it.
RIGHT = """
import numpy as np

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((8, 5)), rng.integers(3, size=8)
PARAMS = {
    "W1": rng.standard_normal((5, 4)), "b1": np.zeros(4),
    "W2": rng.standard_normal((4, 3)), "b2": np.zeros(3),
}


def loss_and_grads(p):
    z = X @ p["W1"] + p["b1"]
    h = np.maximum(z, 0)
    s = h @ p["W2"] + p["b2"]
    s = s - s.max(axis=1, keepdims=True)
    probs = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
    loss = -np.log(probs[np.arange(8), Y]).mean()
    g = probs - np.eye(3)[Y]
    g = g / 8
    grads = {"W2": h.T @ g, "b2": g.sum(axis=0)}
    g = g @ p["W2"].T
    g = g * (z > 0)
    grads["W1"] = X.T @ g
    grads["b1"] = g.sum(axis=0)
    return loss, grads


def model():
    return loss_and_grads, PARAMS
"""

# Name -> (line, what stands there, arrays that are wrong).
MISTAKES = {
    "no-mean": ("    g = g / 8\n", "", {"W1", "b1", "W2", "b2"}),
    "no-mask": ("    g = g * (z > 0)\n", "", {"W1", "b1"}),
    "no-transpose-of-input": ("X.T @ g", "X.T @ abs(g)", {"W1"}),
    "half": ('"W2": h.T @ g', '"W2": h.T @ g / 2', {"W2"}),
    "sign": ('grads["b1"] = g', 'grads["b1"] = -g', {"b1"}),
    "mean-in-b1": ('grads["b1"] = g.sum(axis=0)', 'grads["b1"] = g.mean(axis=0)', {"b1"}),
    "input-of-z": ('"W2": h.T @ g', '"W2": z.T @ g', {"W2"}),
    "penalty-of-b": ('grads["b1"] = g.sum(axis=0)',
                     'grads["b1"] = g.sum(axis=0) + 0.2 * p["b1"]', {"b1"}),
    "forgotten": ('grads["W1"] = X.T @ g', 'grads["W1"] = 0 * p["W1"]', {"W1"}),
}  # fmt: skip

# The same right network, told in another way.
OTHERS_THAT_ARE_RIGHT = {
    "plain": ("", ""),
    "d-keys": ("return loss, grads", 'return loss, {f"d{k}": v for k, v in grads.items()}'),
    "prints": ("    z = X", '    print("loss!", flush=True)\n    z = X'),
    "tuple-of-lists": (
        "return loss_and_grads, PARAMS",
        "names = list(PARAMS)\n"
        "    def listed(p):\n"
        "        loss, g = loss_and_grads(dict(zip(names, p)))\n"
        "        return loss, [g[k] for k in names]\n"
        "    return listed, list(PARAMS.values())",
    ),
    "class": (
        "return loss_and_grads, PARAMS",
        "class Net:\n"
        "        params = PARAMS\n"
        "        def loss(self):\n"
        "            return loss_and_grads(self.params)\n"
        "    return Net()",
    ),
    "script": (
        "def model():",
        'if __name__ == "__main__":\n    raise SystemExit(0)\n\n\ndef model():',
    ),
    "forks-and-goes-on": (
        "def model():",
        "import os\n\nif os.fork() == 0:\n    pass\n\n\ndef model():",
    ),
    "float32": (
        "    z = X",
        "    p = {k: v.astype(np.float32) for k, v in p.items()}\n    z = X.astype(np.float32)",
    ),
}

# What else is handed in -> a part of what is said of it.
FAILING = {
    "endless": ("def model():\n    while True:\n        pass\n", "took longer"),
    "endless-import": ("import time\nwhile True:\n    time.sleep(1)\n", "took longer"),
    "exit-0": ("import sys\nsys.exit(0)\n", "ended the program"),
    "exit-inside": ("import sys\ndef model():\n    sys.exit(0)\n", "ended the program"),
    "hard-exit": ("import os\ndef model():\n    os._exit(0)\n", "exit status 0"),
    "kills-itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "signal 9"),
    "syntax": ("def model(:\n", "SyntaxError"),
    "raises": ("def model():\n    raise RuntimeError('half done')\n", "half done"),
    "nothing": ("x = 1\n", "unknown function"),
    "returns-text": ("def model():\n    return 'right'\n", "must return"),
    "floods": (
        "def model():\n    while True:\n        print('right ' * 1000, flush=True)\n",
        "took longer",
    ),
    "keeps-a-child": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(3)\n    os._exit(0)\n"
        "os._exit(0)\n",
        "ended before the check",
    ),
    "claims": (  # writes a verdict to whatever is open
        "import os\nfor fd in range(3, 20):\n    try:\n"
        '        os.write(fd, b\'{"verdict": "right", "ok": true}\' * 40)\n'
        "    except OSError:\n        pass\ndef model():\n    return None\n",
        "",
    ),
}


def write(folder: Path) -> None:
    """Write the submissions: 8 right, 9 wrong, 13 of which nothing can be checked."""
    for name, (line, other) in OTHERS_THAT_ARE_RIGHT.items():
        assert line in RIGHT
        (folder / f"right-{name}.py").write_text(RIGHT.replace(line, other) if line else RIGHT)
    for name, (line, other, _) in MISTAKES.items():
        assert line in RIGHT
        (folder / f"wrong-{name}.py").write_text(RIGHT.replace(line, other))
    for name, (text, _) in FAILING.items():
        (folder / f"failed-{name}.py").write_text(text)
