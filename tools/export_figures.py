"""The figures of docs/export.md: how far exported files are from the networks that they were made of.

    python tools/export_figures.py

Trains networks of several kinds for a moment, and asks both about 10,000 rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import klayer as kl

ROWS = 10_000
KINDS = {
    "[50, 50]": {},
    "[50, 50], batch norm": {"batch_norm": "hidden"},
    "[50, 50], layer norm, GELU": {"layer_norm": "hidden", "activation": "gelu"},
    "[50, 50, 50], skips, SELU": {"hidden": (50, 50, 50), "skip": "equal", "activation": "selu"},
    "9 layers, batch norm": {"hidden": (50, 30, 20, 20, 10, 10, 10, 10), "batch_norm": "all"},
    "[50, 50], float64": {"dtype": "float64"},
}


def main() -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    X = random.normal(50, 20, (ROWS, 64)).round(2)
    y = (X @ random.standard_normal((64, 10))).argmax(axis=1)
    print("| networks | networks together | ONNX | safetensors |\n|---|---|---|---|")
    for name, said in KINDS.items():
        for seeds in (1, 8):
            model = kl.fit(
                X, y, **{"hidden": (50, 50), "cycles": 2, "seeds": seeds, **said}
            ).model()
            wanted = kl.Ensemble([model]).predict(X)
            apart = []
            with tempfile.TemporaryDirectory() as folder:
                for ending in ("onnx", "safetensors"):
                    path = Path(folder) / f"m.{ending}"
                    kl.export_model(model, path, X=X)
                    found = kl.load_model(path).predict(X)
                    apart.append(np.abs(found.reshape(wanted.shape) - wanted).max())
            print(f"| {name} | {seeds} | {apart[0]:.1e} | {apart[1]:.1g} |")


if __name__ == "__main__":
    main()
