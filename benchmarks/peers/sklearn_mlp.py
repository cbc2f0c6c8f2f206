"""scikit-learn: ``MLPClassifier.partial_fit``, one network after another, without normalisation."""

from __future__ import annotations

from numpy.typing import NDArray

from peers.task import Task


class Peer:
    """One network, ``solver="sgd"`` without momentum.

    scikit-learn's penalty gradient is ``alpha / N * W`` for a mini-batch of N samples: ours,
    ``2 lambda W``, is ``alpha = 2 lambda N``. Each call of ``partial_fit`` gets the rows of 20
    mini-batches, in order, because calls with a single one spend a third of their time on checks.
    """

    stride = 20

    def __init__(self, task: Task, X: NDArray, labels: NDArray, threads: int) -> None:
        from sklearn.neural_network import MLPClassifier
        from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
        from threadpoolctl import threadpool_limits

        if task.batch_norm != "none":
            raise NotImplementedError("scikit-learn has no batch normalisation")
        threadpool_limits(threads)
        self.task, self.X, self.labels = task, X, labels
        batch = task.rows.shape[1]
        self.model = MLPClassifier(
            task.hidden,
            solver="sgd",
            alpha=2 * float(task.l2[0]) * batch,
            batch_size=batch,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=False,
        )
        self.model.partial_fit(X[:batch], labels[:batch], classes=range(task.widths[-1]))
        for layer, (W, b) in enumerate(
            zip(self.model.coefs_, self.model.intercepts_, strict=True), start=1
        ):
            W[...], b[...] = task.params[f"W{layer}"][0], task.params[f"b{layer}"][0]

        class Triangular(SGDOptimizer):
            """Plain SGD whose rate follows the task."""

            update = 0

            def _get_updates(self, grads):
                self.learning_rate = float(task.lr[self.update % len(task.lr), 0])
                self.update += 1
                return super()._get_updates(grads)

        parameters = self.model.coefs_ + self.model.intercepts_
        self.model._optimizer = Triangular(parameters, momentum=0.0, nesterov=False)

    def train(self, start: int, stop: int) -> None:
        for t in range(start, stop, self.stride):
            first = t % len(self.task.rows)
            rows = self.task.rows[first : first + self.stride].ravel()
            self.model.partial_fit(self.X[rows], self.labels[rows])

    def weights(self) -> dict[str, NDArray]:
        values = {}
        for layer, (W, b) in enumerate(
            zip(self.model.coefs_, self.model.intercepts_, strict=True), start=1
        ):
            values[f"W{layer}"], values[f"b{layer}"] = W[None], b[None]
        return values
