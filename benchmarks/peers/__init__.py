"""The contestants of the speed benchmark: one module each, all with the same few methods.

A contestant's class is called ``Peer`` and is made from a :class:`peers.task.Task`, features,
labels and a number of threads. ``train(start, stop)`` does the updates ``start`` to ``stop - 1``,
gathering each mini-batch by its row numbers, and returns when they are done; ``weights()`` hands
out the parameters in klayer's names and shapes; ``stride`` is the number of updates that one call
must be a multiple of. A module imports its library inside ``Peer.__init__``, in its own process.
"""
