"""The report's section 5: small Gaussian weights, without and with batch normalisation.

python examples/assignment/initialisation.py [DATA]
"""

import sys

from curves import HIDDEN
from network import accuracy, initialise, load, train


# --8<-- [start:initialisation]
def main(name="digits", layers=3):
    """Print the test accuracy for each sigma."""
    data = load(name)
    inputs, classes = data["train"][0].shape[1], data["train"][1].max() + 1
    for batch_norm in (False, True):
        for sigma in (1e-1, 1e-3, 1e-4):
            widths = [inputs, *HIDDEN[int(layers)], classes]
            params = initialise(widths, sigma=sigma, batch_norm=batch_norm)
            running, _ = train(params, data, points=1)
            score = accuracy(params, data, "test", running)
            print(
                f"sigma {sigma:.0e}{', BN' if batch_norm else '    '}  test {score:.3f}  (one run)"
            )


# --8<-- [end:initialisation]

if __name__ == "__main__":
    main(*sys.argv[1:])
