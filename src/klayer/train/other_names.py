"""What others call a setting: whoever writes a name that isn't one is told the one that was meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klayer.errors import KlayerError, unknown_name
from klayer.train.setting import Setting

__all__ = ["OTHER_NAMES", "unknown_setting"]

# The words of other libraries and papers, by the setting's name here.
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "hidden": (
        *("hidden_layers", "hidden_layer_sizes", "hidden_sizes", "hidden_units", "n_hidden"),
        *("layers", "units", "widths", "sizes", "neurons", "depth", "width"),
    ),
    "batch_norm": ("bn", "batchnorm", "batch_normalisation", "batch_normalization"),
    "bn_eps": ("eps", "epsilon"),
    "init": ("initialisation", "initialization", "initialiser", "initializer", "weight_init"),
    "l2": (
        *("lambda", "lam", "alpha", "wd", "reg", "penalty"),
        *("regularisation", "regularization", "l2_penalty"),
    ),
    "dropout": ("dropout_rate", "drop", "p_drop", "hidden_dropout"),
    "input_noise": ("noise", "gaussian_noise", "noise_std", "input_noise_std", "jitter"),
    "lr_min": ("min_lr", "base_lr", "eta_min", "learning_rate_min"),
    "lr_max": (
        *("lr", "learning_rate", "learning_rate_init", "learning_rate_max", "learningrate"),
        *("max_lr", "eta", "eta_max", "rate", "step_size"),
    ),
    "batch_size": ("batch", "batches", "bs", "minibatch", "mini_batch", "n_batch", "batchsize"),
    "momentum": ("beta1", "beta_1", "betas", "mu"),
    "beta2": ("beta_2", "rho", "rms_decay"),
    "optimiser_eps": ("adam_eps", "optimizer_eps", "opt_eps"),
    "weight_decay": ("decay", "decoupled_weight_decay"),
    "clip_norm": ("clip", "grad_clip", "gradient_clip", "max_norm", "max_grad_norm", "clipnorm"),
    "warm_up": ("warmup", "warmup_steps", "warmup_epochs", "lr_warmup"),
    "cycle_growth": ("t_mult", "cycle_mult", "growth"),
    "early_stopping": ("early_stop", "stop_early", "monitor"),
    "patience": ("n_iter_no_change", "early_stopping_rounds", "patience_epochs"),
    "augment": ("augmentation", "augmentations", "transform", "transforms", "mixup", "cutout"),
    "average": ("averaging", "swa", "ema", "weight_average"),
    "ema_decay": ("polyak", "average_decay"),
    "snapshots": ("snapshot", "snapshot_ensemble"),
    "schedule": ("lr_schedule", "scheduler", "learning_rate_schedule"),
    "order_seed": ("shuffle_seed", "data_seed"),
    "shuffle": ("shuffling", "shuffle_buffer"),
    "optimiser": ("optimizer", "optim", "solver"),
    "activation": ("act", "nonlinearity", "activation_function"),
    "dtype": ("precision",),
}

# What training is as long as, elsewhere.
LENGTHS = ("epochs", "epoch", "n_epochs", "max_epochs", "num_epochs", "max_iter", "iterations")


def unknown_setting(
    name: str,
    value: Any,
    known: Mapping[str, Setting],
    *,
    kind: str = "setting",
    as_flags: bool = False,
) -> KlayerError:
    """Build the error for a setting that isn't one, with the one that was meant.

    Parameters
    ----------
    name : str
    value
        What it was given.
    known : mapping of str to Setting
        Those that would have been right.
    kind : str
        What the name is for, as a noun.
    as_flags : bool
        Whether it was meant for the command line.

    Examples
    --------
    >>> from klayer.train import SETTINGS
    >>> str(unknown_setting("lr", 0.1, SETTINGS)).partition(" Known")[0]
    "unknown setting 'lr': did you mean 'lr_max'?"
    >>> print(str(unknown_setting("epochs", 20, SETTINGS)).partition(" Known")[0][26:])
    training lasts `cycles` of two half-cycles each, so for 20 epochs say cycles = 2, half_cycle = \
'5 epochs'.
    """
    shown = {one: row.flags[0] if as_flags else one for one, row in known.items()}
    plain = name.lstrip("-").replace("-", "_").lower()
    hint = None
    for one, words in OTHER_NAMES.items():
        if one in known and plain in words:
            hint = f"did you mean {shown[one]!r}?"
    if plain in LENGTHS and {"cycles", "half_cycle"} <= known.keys():
        try:
            epochs = float(value)
        except (TypeError, ValueError):
            epochs = 20.0
        quarter = f"'{epochs / 4:g} epochs'"
        equals, comma = (" ", " ") if as_flags else (" = ", ", ")
        say = f"{shown['cycles']}{equals}2{comma}{shown['half_cycle']}{equals}{quarter}"
        hint = (
            f"training lasts `{shown['cycles']}` of two half-cycles each, so for {epochs:g} epochs "
            f"say {say}."
        )
    return unknown_name(kind, name, shown.values(), hint)
