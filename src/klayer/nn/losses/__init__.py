"""The losses that networks are trained with, one row each; a stored network names them by the keys."""

from klayer.nn.losses.binary import BinaryCrossEntropy, sigmoid
from klayer.nn.losses.loss import Loss, LossPass
from klayer.nn.losses.regression import Absolute, Huber, Quantile, Squared, residuals
from klayer.nn.losses.softmax import SoftmaxCrossEntropy, softmax

__all__ = ["LOSSES", "Loss", "LossPass", "loss_of"]

LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss("classification", SoftmaxCrossEntropy, softmax),
    "squared": Loss("regression", Squared),
    "absolute": Loss("regression", Absolute, decides=residuals),
    "huber": Loss("regression", Huber),
    "quantile": Loss("regression", Quantile, decides=residuals),
    "binary_cross_entropy": Loss("multilabel", BinaryCrossEntropy, sigmoid),
}


def loss_of(task: str) -> str:
    """Return the loss that a task is trained with unless something else is said: its first row.

    Examples
    --------
    >>> [loss_of(task) for task in ("classification", "regression", "multilabel")]
    ['softmax_cross_entropy', 'squared', 'binary_cross_entropy']
    """
    return next(name for name, loss in LOSSES.items() if loss.task == task)
