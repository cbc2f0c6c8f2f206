"""The report's sections 2 and 3: 3 and 9 layers, He, without and with batch normalisation.

python examples/assignment/curves.py [DATA]
"""

import sys

from network import accuracy, initialise, load, train

HIDDEN = {3: [50, 50], 9: [50, 30, 20, 20, 10, 10, 10, 10]}


# --8<-- [start:curves]
def main(name="digits"):
    """Train four networks and print their curves: update, training and validation accuracy."""
    data = load(name)
    inputs, classes = data["train"][0].shape[1], data["train"][1].max() + 1
    for layers, hidden in HIDDEN.items():
        for batch_norm in (False, True):
            params = initialise([inputs, *hidden, classes], batch_norm=batch_norm)
            running, curve = train(params, data)
            print(f"{layers} layers{', BN' if batch_norm else ''}")
            for update, training, validation in curve[::5]:
                print(f"  {update:5d}  {training:.3f}  {validation:.3f}")
            print(f"  test   {accuracy(params, data, 'test', running):.3f}  (one run)")


# --8<-- [end:curves]

if __name__ == "__main__":
    main(*sys.argv[1:])
