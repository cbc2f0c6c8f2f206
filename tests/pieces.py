"""Networks of all pieces, for the suites that every piece has to pass: what makes them so."""

PIECES = {
    "bn after": {"batch_norm": "all", "bn_place": "after"},
    "bn after tanh": {"batch_norm": "hidden", "bn_place": "after", "activation": "tanh"},
    "layer norm": {"layer_norm": "hidden"},
    "skip": {"skip": "equal"},
    "skip and bn": {"skip": "equal", "batch_norm": "all", "activation": "gelu"},
    "dropout": {"drops_hidden": True},
    "dropout of inputs": {"drops_inputs": True},
    "noise": {"noisy_inputs": True},
    "noise and dropout of inputs": {"noisy_inputs": True, "drops_inputs": True, "skip": "equal"},
    "an activation each": {"activation": ("gelu", "silu", "tanh", "selu")},
    "norms by layer": {"batch_norm": (2, 5), "layer_norm": (1, 3)},
    "bn after, by layer": {"batch_norm": (1, 3), "bn_place": "after"},
    "dropout by layer": {"drops_hidden": (1, 3)},
    "dropout by shares": {"drops_hidden": (1, 2, 4), "dropout_shares": (0.5, 1.0, 0.25)},
    "all": {
        "skip": "equal",
        "batch_norm": "all",
        "bn_place": "after",
        "activation": ("gelu_tanh", "leaky_relu", "silu", "relu"),
        "drops_hidden": True,
        "drops_inputs": True,
        "noisy_inputs": True,
    },
}
