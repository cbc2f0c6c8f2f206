"""How honest probabilities are: one network, an ensemble, and both with a temperature.

python examples/calibration.py
"""

from __future__ import annotations

from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

import klayer as kl

SEEDS = range(5)


def main() -> None:
    """Print accuracy, log-loss and calibration error of four models, over seeds."""
    X, y = make_classification(3000, 20, n_informative=8, n_classes=3, flip_y=0.1, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    # Without dropout, smoothing and normalisation, which all make networks less sure of themselves.
    one = kl.KLayerClassifier(
        hidden=(64, 64), activation="relu", batch_norm="none", dropout=0.0, smoothing=0.0,
        batch_size=32, optimiser="adam", lr_max=0.005, schedule="cosine", epochs=40,
    )  # fmt: skip
    models = {
        "one network": one,
        "one network, calibrated": clone(one).set_params(calibrate=True),
        "8 networks": clone(one).set_params(n_networks=8),
        "8 networks, calibrated": clone(one).set_params(n_networks=8, calibrate=True),
    }
    print(f"test rows: {len(y_test)}; means over {len(SEEDS)} seeds, in brackets least and most")
    print(f"{'':24} {'accuracy':>8}  {'log-loss':>19}  {'calibration error':>19}  temperature")
    for name, model in models.items():
        fitted = [
            clone(model).set_params(random_state=seed).fit(X_train, y_train) for seed in SEEDS
        ]
        found = [each.reliability(X_test, y_test) for each in fitted]
        right = sum(each.score(X_test, y_test) for each in fitted) / len(fitted)
        heat = sum(each.temperature_ for each in fitted) / len(fitted)
        losses, errors = [each.log_loss for each in found], [each.error for each in found]
        print(f"{name:24} {right:8.3f}  {spread(losses)}  {spread(errors)}  {heat:11.2f}")
    chance = sum(each.by_chance for each in found) / len(found)
    print(f"An honest model would show a calibration error of about {chance:.3f} on so many rows.")


def spread(values: list[float]) -> str:
    """Write a mean with the least and the most."""
    return f"{sum(values) / len(values):.3f} ({min(values):.3f}..{max(values):.3f})"


if __name__ == "__main__":
    main()
