"""A population: P networks of one architecture that see the same mini-batches.

It says *what* is trained: members, settings, schedule, state. How is the trainer's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError, require_kind
from klayer.model import Model
from klayer.nn import Workspace, draw_keys
from klayer.nn.backends import BACKENDS, compiled_pays, require
from klayer.nn.first_layer import best_at_once, can_delay, lay_out
from klayer.nn.lanes import Lanes, chosen_lanes, slices
from klayer.train.augment import Augmentation
from klayer.train.average_shares import average_from
from klayer.train.costs import best_chunk
from klayer.train.engine import Engine
from klayer.train.ensemble import Ensemble
from klayer.train.evaluate import evaluate
from klayer.train.feed import Feed, Rows
from klayer.train.memory import require_memory
from klayer.train.metrics import measures
from klayer.train.optimisers import OPTIMISERS
from klayer.train.schedules import learning_rates
from klayer.train.settings import Settings
from klayer.train.state import TrainingState, copied
from klayer.train.state_checks import require_calibration, require_fitting, require_measure
from klayer.train.told import Faces

__all__ = ["SWITCHES", "Member", "Population"]

Array = NDArray[Any]

# Numbers of a network that are off at 0: a population has their pieces if one of its networks has.
SWITCHES = ("dropout", "input_dropout", "input_noise")

# What early stopping remembers of each network, and where it starts.
MARKS = {"best": -np.inf, "best_update": 0.0, "waited": 0.0, "stopped": -1.0}


@dataclass(frozen=True)
class Member:
    """One network of a population: its settings and its seed (>= 0)."""

    settings: Settings
    seed: int

    def __post_init__(self) -> None:
        require_kind(self.settings, Settings, "settings", "kl.Settings(...)")
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise KlayerError(f"`seed` must be a whole number >= 0, but got {self.seed!r}.")


class Population(Faces):
    """P networks that share architecture, batches and schedule, and differ in all else.

    Parameters
    ----------
    feed : Feed
    members : sequence of Member
        They may differ in seed and in all settings of the scope "network"; the other settings must
        agree.
    state : TrainingState, optional
        Where to go on from; by default the members are initialised.
    chunk : int, >= 1, optional
        Networks trained side by side: a matter of speed alone; by default what is best.

    Attributes
    ----------
    settings : Settings
        What the members share.
    network : Network
    state : TrainingState
        With the strategy of the first layer and the backend, chosen for this population once, when it
        is new.
    numbers : dict of array, shape (P,)
        The settings that are a number per network, by name.
    course : Course
        The cycles, in updates.
    total_updates, updates_per_epoch : int, in updates
    seconds : float
        What :func:`fit` took to train it.

    Raises
    ------
    KlayerError
        If the members do not belong in one population.

    Examples
    --------
    >>> import klayer as kl
    >>> feed = Feed(kl.load("digits"))
    >>> settings = Settings(hidden=(20,), cycles=1, half_cycle="2 epochs")
    >>> population = Population(feed, [Member(settings, seed) for seed in (0, 1)])
    >>> population.total_updates, population.learning_rates(0).tolist()
    (48, [1e-05, 1e-05])
    """

    def __init__(
        self,
        feed: Feed,
        members: Sequence[Member],
        state: TrainingState | None = None,
        chunk: int | None = None,
    ) -> None:
        require_kind(feed, Feed, "feed", "a Feed", "make one of the data, Feed(data)")
        for one in members:
            require_kind(one, Member, "members", "a list of Member", "Member(settings, seed)")
        if not members:
            raise KlayerError("a population needs at least one network, but got none.")
        self.settings = settings = members[0].settings
        _require_shared(members)
        feed = feed.redrawn(settings.split_seed, settings.train_samples)
        self.feed, self.members = feed, list(members)
        network = settings.network(feed.n_features, feed.n_classes, feed.dataset.task)
        self._class_weights = feed.class_weights(settings.class_weights)
        self.dtype = np.dtype(settings.dtype)
        if self.dtype != feed.dtype:
            raise KlayerError(
                f"the data are {feed.dtype}, but the settings say dtype={self.dtype}."
            )
        self.numbers = {
            name: np.array([getattr(member.settings, name) for member in members])
            for name in Settings.per_network()
            if isinstance(getattr(settings, name), int | float)
        }
        on = {name: bool(self.numbers[name].any()) for name in SWITCHES}
        self.network = replace(
            network,
            drops_hidden=on["dropout"] and settings.drops_hidden,
            dropout_shares=settings.dropout_shares if on["dropout"] else (),
            drops_inputs=on["input_dropout"],
            noisy_inputs=on["input_noise"],
        )
        self._draw_keys = draw_keys([member.seed for member in members])
        start = state.start if state else 0
        self.batches = settings.batches(len(feed.dataset.splits["train"].labels), start)
        self.chunk = chunk or best_chunk(self.network, self.batches.batch_size)
        self.augmentation = Augmentation(settings.augment, feed.dataset, settings.order_seed)
        self.updates_per_epoch = self.batches.per_epoch
        self.course = replace(settings.course(self.updates_per_epoch), start=start)
        self.total_updates = self.course.total
        require_measure(self)
        require_calibration(self)
        if state is None:
            require_memory(self.network, len(members), self.batches.batch_size, self.dtype.itemsize)
        self.state = state or self._start()
        if self.state.update == start:
            self._watch()
        if state:
            require_fitting(self, state)
        self.seconds = 0.0
        if self.state.at_once > 1:
            self.state.params["W1"] = lay_out(self.state.params["W1"])

    def _start(self) -> TrainingState:
        """Return the state of a population that has not been trained."""
        params = self.network.init(
            [member.settings.init for member in self.members],
            [member.seed for member in self.members],
            self.dtype,
        )
        running = self.network.init_running(len(self), self.dtype)
        return TrainingState(
            params,
            running,
            OPTIMISERS[self.settings.optimiser].init(params),
            **self.strategy(params["W1"]),
        )

    def _watch(self) -> None:
        """Begin what early stopping remembers, at the start of a course."""
        state = self.state
        if self.settings.early_stopping != "none" and "best" not in state.marks:
            state.copies["best"] = copied(state.params, state.running)
            state.marks |= {name: np.full(len(self), first) for name, first in MARKS.items()}

    def strategy(self, W1: Array) -> dict[str, Any]:
        """Choose who carries out the updates, and how many of the first layer's at once.

        Only the shape (P, D, H) of ``W1`` counts: of a population that is trained in parts it can be
        asked for without making it.
        """
        settings, optimiser = self.settings, self.settings.optimiser
        at_once, backend = self._at_once(W1), settings.backend
        chosen = settings.updates_at_once != "auto" and at_once > 1
        if backend == "compiled":
            require(backend, self.network, optimiser, self.needs)
            if chosen:
                raise KlayerError(
                    "the compiled backend carries out updates one by one, but got updates_at_once="
                    f"{settings.updates_at_once}: set backend='numpy', or leave one of them out."
                )
        elif backend == "auto":
            pays = not chosen and compiled_pays(W1, self.total_updates)
            refused = not pays or BACKENDS["compiled"].refusal(self.network, optimiser, self.needs)
            backend = "numpy" if refused else "compiled"
        return {"at_once": 1 if backend == "compiled" else at_once, "backend": backend}

    @property
    def needs(self) -> tuple[str, ...]:
        """What a backend has to know beside pieces, loss and optimiser."""
        return tuple(
            what
            for what, needed in (
                ("clip_norm", bool(self.settings.clip_norm)),
                ("average", self.settings.average != "none"),
                ("mixup", self.augmentation.mixup is not None),
            )
            if needed
        )

    @property
    def calibrates(self) -> bool:
        """Whether a temperature of each network is still to be found, at the end."""
        return self.settings.calibration != "none" and self.state.temperatures is None

    @property
    def average_from(self) -> int:
        """The update from which on the average is that of the weights."""
        return average_from(self.settings, self.course)

    def _at_once(self, W1: Array) -> int:
        """Choose how many updates of the first layer are carried out at once."""
        wanted, batch = self.settings.updates_at_once, self.batches.batch_size
        settings, optimiser = self.settings, OPTIMISERS[self.settings.optimiser]
        one_by_one = settings.clip_norm or settings.average != "none" or self.network.changes_inputs
        if one_by_one or not optimiser.by_products:
            return 1
        if wanted == "auto":
            return best_at_once(W1, batch)
        return int(wanted) if can_delay(W1) else 1

    def __len__(self) -> int:
        return len(self.members)

    @property
    def alive(self) -> list[int]:
        """The networks that have not failed."""
        return [p for p, failure in enumerate(self.state.failures) if failure is None]

    @property
    def training(self) -> list[int]:
        """The networks that still train: they have neither failed nor stopped."""
        stopped = self.state.marks.get("stopped")
        return [p for p in self.alive if stopped is None or stopped[p] < 0]

    def learning_rates(self, t: int | Array, lanes: slice = slice(None)) -> Array:
        """Learning rates of some networks at update ``t``, shape (P,); at updates (T,), (T, P)."""
        t = t if isinstance(t, int) else t[:, None]
        low, high, decay = (
            self.numbers[name][lanes] for name in ("lr_min", "lr_max", "peak_decay")
        )
        return learning_rates(self.settings.schedule, t, low, high, self.course, decay)

    def numbers_of(self, lanes: slice) -> dict[str, Array]:
        """Return the numbers of some networks, and ``draw_key``, which their draws follow from."""
        found = {name: value[lanes] for name, value in self.numbers.items()}
        return {**found, "draw_key": self._draw_keys[lanes]}

    def on_grid(self, t: float) -> int:
        """Round an update up to the end of those that are carried out at once, counted from update 0."""
        if not isinstance(t, Real) or not math.isfinite(t):
            raise KlayerError(f"`until` must be the number of an update, but got {t!r}.")
        return min(self.total_updates, -(-round(t) // self.state.at_once) * self.state.at_once)

    def record_points(self) -> list[int]:
        """Updates at which the curves are recorded: the start of the course, then evenly to the end."""
        points = max(1, round(self.settings.cycles * self.settings.points_per_cycle))
        evenly = np.linspace(self.course.start, self.total_updates, points + 1)
        return sorted({self.on_grid(t) for t in evenly})

    def take(self, lanes: Lanes) -> Population:
        """Return a population of the networks ``lanes`` alone: the others cost no more time."""
        chosen = chosen_lanes(lanes, len(self))
        members = [self.members[p] for p in chosen]
        return Population(self.feed, members, self.state.take(chosen), self.chunk)

    def going_on(self) -> Population:
        """Return the population at the start of another course: see :meth:`TrainingState.going_on`."""
        return Population(self.feed, self.members, self.state.going_on(), self.chunk)

    @classmethod
    def join(cls, populations: Sequence[Population]) -> Population:
        """Return one population of the networks of several, in their order: the inverse of :meth:`take`.

        Raises
        ------
        KlayerError
            If they don't share their feed, and all else that the networks of a population share.
        """
        feeds = {id(one.feed.original): one.feed.original for one in populations}
        if len(feeds) != 1:
            raise KlayerError(
                "populations can be joined that share one feed, but got "
                f"{len(feeds) or 'no'} feeds: make one Feed, and each population with it."
            )
        members = [member for one in populations for member in one.members]
        _require_shared(members)
        state = TrainingState.join([one.state for one in populations])
        return cls(next(iter(feeds.values())), members, state)

    def model(self, lanes: Lanes | None = None) -> Model:
        """Return the networks ``lanes`` (by default all) as they are now, ready to label raw rows."""
        return self._model(*self.state.weights(), lanes)

    def _model(
        self, params: dict[str, Array], running: dict[str, Array], lanes: Lanes | None
    ) -> Model:
        dataset = self.feed.dataset
        model = Model(
            self.network,
            params,
            running,
            dataset.standardiser,
            dataset.class_names,
            dataset.targets,
            dataset.encoder,
        )
        if self.state.temperatures is not None:
            model = model.at_temperatures(self.state.temperatures)
        return model.take(range(len(self)) if lanes is None else lanes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of the images (channels, height, width); an error if the data are none."""
        shape: tuple[int, int, int] | None = getattr(self.feed.dataset, "image_shape", None)
        if shape is None:
            raise KlayerError("only images have mirror images, but the data have no image shape.")
        return shape

    def ensemble(
        self, lanes: Lanes | None = None, *, mirror: bool = False, snapshots: bool = False
    ) -> Ensemble:
        """Return networks that answer together, by the mean of what they say.

        Parameters
        ----------
        lanes : optional
            Which networks; by default all that have not failed.
        mirror : bool
            Whether each answers to an image and its mirror image.
        snapshots : bool
            Whether the networks as they were at the end of each cycle answer, too: see the setting
            ``snapshots``. Source: Huang et al. 2017, arXiv:1704.00109.
        """
        lanes = self.alive if lanes is None else lanes
        models = [*(self.snapshots(lanes) if snapshots else []), self.model(lanes)]
        return Ensemble(models, mirror=self.image_shape if mirror else None)

    def snapshots(self, lanes: Lanes | None = None) -> list[Model]:
        """Return the networks as they were at the end of each cycle but the last.

        Raises
        ------
        KlayerError
            If they were not kept: that is the setting ``snapshots``.
        """
        if self.settings.snapshots == "none":
            raise KlayerError(
                "networks are kept at the ends of cycles with snapshots='cycles', but got 'none': set "
                "it and train again."
            )
        state, found = self.state, []
        for name in [f"cycle {cycle}" for cycle in range(1, len(self.course.ends))]:
            if copy := state.copies.get(name):
                params, running = (
                    {key: copy[key] for key in group} for group in (state.params, state.running)
                )
                found.append(self._model(params, running, lanes))
        return found

    def evaluate(self, split: str, engine: Engine | None = None) -> dict[str, Array]:
        """Cost, loss and scores on a whole split.

        Parameters
        ----------
        split : str
        engine : Engine, optional

        Returns
        -------
        values : dict of array, shape (P,)
            Keys ``cost``, ``loss`` and the scores of the task: ``accuracy``, ``balanced_accuracy``,
            ``macro_f1``; ``r2``, ``rmse``; or ``label_accuracy``, ``exact_match``. NaN for networks
            that failed, or whose outputs are not finite.
        """
        return self.evaluate_rows(self.weighted(self.feed[split]), engine)

    def weighted(self, rows: Rows) -> Rows:
        """Return rows with the weights that these networks' loss gives them."""
        return rows.weighted(self._class_weights)

    def evaluate_rows(
        self,
        rows: Rows,
        engine: Engine | None = None,
        lanes: Sequence[int] | None = None,
        *,
        curves: bool = False,
    ) -> dict[str, Array]:
        """Cost, loss and scores on some rows, as :meth:`evaluate` returns them.

        NaN for networks that are not among ``lanes``, by default those that have not failed.
        ``curves`` leaves out what curves don't follow.
        """
        names = measures(self.network.task, curves=curves)
        values = {name: np.full(len(self), np.nan) for name in names}

        weights = self.state.weights()

        def run(lanes: slice, ws: Workspace) -> None:
            params, running = (
                {key: value[lanes] for key, value in group.items()} for group in weights
            )
            numbers = self.numbers_of(lanes)
            found = evaluate(self.network, params, running, rows, numbers, ws, curves=curves)
            for name, value in found.items():
                values[name][lanes] = value

        with engine or Engine() as engine:
            share = -(-len(self) // engine.workers)
            some = self.alive if lanes is None else lanes
            engine.map(run, slices(some, min(self.chunk, max(1, share))))
        return values


def _require_shared(members: Sequence[Member]) -> None:
    settings = members[0].settings
    for p, member in enumerate(members):
        if member.settings.shared != settings.shared:
            raise KlayerError(
                "the networks of a population must share all settings but seed, "
                f"{', '.join(Settings.per_network())}, but network {p} has "
                f"{_difference(member.settings, settings)}."
            )


def _difference(one: Settings, other: Settings) -> str:
    ours, theirs = one.shared.as_dict(), other.shared.as_dict()
    return ", ".join(
        f"{name}={ours[name]!r} instead of {theirs[name]!r}"
        for name in ours
        if ours[name] != theirs[name]
    )
