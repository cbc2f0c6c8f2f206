"""Optuna's storage of a search: it follows the run directory, and can be made again from it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from klayer.errors import KlayerError
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run
from klayer.study.search.options import Search
from klayer.study.search.optuna_space import (
    distributions,
    import_optuna,
    quiet_optuna,
    to_choice,
    whole_space,
)
from klayer.study.search.search_file import Trial
from klayer.study.search.tables import trial_row
from klayer.study.secrets import without_passwords

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

__all__ = ["OptunaMirror", "reach"]


def reach(url: str) -> None:
    """Connect to a database once, so that a mistake in its URL shows before a run is made.

    Raises
    ------
    KlayerError
        If it can't be reached.
    """
    import sqlalchemy

    try:
        sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        raise KlayerError(
            f"`--storage` must be a URL like postgresql+psycopg://user@host/database or "
            f"sqlite:///file.db, but got {without_passwords(url)!r}."
        ) from None
    try:
        engine = sqlalchemy.create_engine(url)
        with contextlib.closing(engine.connect()):
            pass
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise _unopened(url, error) from None


class OptunaMirror:
    """A study in Optuna's storage that shows a search: its trials, curves, values and states.

    Parameters
    ----------
    run : Run
    search : Search
    url : str, optional
        By default the SQLite file ``search.db`` in the run directory. Since all of it follows from
        the run, a file that a crash damaged is put aside and made again.

    Raises
    ------
    KlayerError
        If the storage can't be opened, or holds another search under this name.
    """

    def __init__(self, run: Run, search: Search, url: str | None = None) -> None:
        self.run, self.asked = run, run.asked
        self.given = [stage.space for stage in search.stages]
        file = run.path / "search.db"
        self.url = url or f"sqlite:///{file}"
        try:
            self.study = self._open()
        except KlayerError:
            if url or not file.exists():
                raise
            file.replace(file.with_name("search.db.damaged"))
            for rest in ("search.db-journal", "search.db-wal", "search.db-shm"):
                (run.path / rest).unlink(missing_ok=True)
            self.study = self._open()

    def _open(self) -> optuna.Study:
        import sqlalchemy

        library = import_optuna()
        try:
            with quiet_optuna():
                storage = library.storages.RDBStorage(self.url)
                if self.url == f"sqlite:///{self.run.path / 'search.db'}":
                    _hurry(storage.engine)
                self.storage = storage
                study: optuna.Study = library.create_study(
                    storage=storage,
                    study_name=self.asked.study_name,
                    direction="maximize",
                    load_if_exists=True,
                )
                study.get_trials(deepcopy=False)
                return study
        except (
            sqlalchemy.exc.SQLAlchemyError,
            library.exceptions.StorageInternalError,
            ImportError,
            ValueError,
            RuntimeError,
            AssertionError,
        ) as error:
            if hasattr(self, "storage"):
                self.storage.engine.dispose()
            raise _unopened(self.url, error) from None

    def __enter__(self) -> OptunaMirror:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.storage.engine.dispose()

    def follow(self) -> None:
        """Bring the storage to where the run is: add what was asked, tell what was trained.

        Raises
        ------
        KlayerError
            If the storage doesn't answer any more, or holds other trials than the run.
        """
        import sqlalchemy

        optuna = import_optuna()
        try:
            self._follow()
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise KlayerError(
                f"the storage {without_passwords(self.url)} must answer, but: {_reason(error)}. "
                f"Nothing is lost: go on with {self.run.resume_command}."
            ) from None

    def _follow(self) -> None:
        with quiet_optuna(), warnings.catch_warnings():
            # RUNNING trials are added on purpose.
            warnings.simplefilter("ignore", UserWarning)
            self._describe()
            stored = {one.number: one for one in self.study.get_trials(deepcopy=False)}
            spaces = [stage.space for stage in self.asked.stages]
            wanted = whole_space([*self.given, *spaces])
            for trial in self.asked.trials:
                records = [record for key in trial.keys if (record := self.run.find(key))]
                records = records if len(records) == len(trial.seeds) else []
                if trial.number in stored:
                    self._check(trial, stored[trial.number])
                    if records and not stored[trial.number].state.is_finished():
                        self._tell(stored[trial.number], trial, records)
                else:
                    self._add(trial, records, wanted)

    def _describe(self) -> None:
        attributes = {"run": str(self.run.path.resolve()), "data": self.run.info["data"]["name"]}
        for stage in self.asked.stages:
            attributes[f"stage {stage.stage}"] = f"{stage.space}: {stage.reason}"
        have = self.study.user_attrs
        for name, value in attributes.items():
            if have.get(name) != value:
                self.study.set_user_attr(name, value)

    def _check(self, trial: Trial, stored: optuna.trial.FrozenTrial) -> None:
        asked = {name: to_choice(value) for name, value in trial.params.items()}
        if stored.params != asked:
            raise KlayerError(
                f"the storage must hold this run's search, but its trial {trial.number} of study "
                f"{self.asked.study_name!r} has {stored.params}, and the run's has {asked}: give "
                "--storage the URL that the search began with."
            )

    def _add(self, trial: Trial, records: Sequence[NetworkRecord], wanted: dict[str, Any]) -> None:
        """Write a trial in one transaction: running, or finished if its networks are."""
        from optuna.trial import TrialState, create_trial

        # Only what the trial's own stage allowed, on the scale that all stages share.
        space = self.asked.stages[trial.stage - 1].space
        log = {name: wanted[name].log for name in space.ranges}
        own = distributions(space, log)
        own |= {name: wanted[name] for name in space.categories}
        attributes = {
            "stage": trial.stage,
            "arm": trial.arm,
            "seeds": list(trial.seeds),
            "run": str(self.run.path.resolve()),
        }
        state, value = TrialState.RUNNING, None
        curve: dict[int, float] = {}
        if records:
            state, value, more, curve = _result(trial, records)
            attributes |= more
        self.study.add_trial(
            create_trial(
                state=state,
                value=value,
                params={name: to_choice(trial.params[name]) for name in own},
                distributions=own,
                user_attrs=attributes,
                intermediate_values=curve,
            )
        )

    def _tell(
        self, stored: optuna.trial.FrozenTrial, trial: Trial, records: Sequence[NetworkRecord]
    ) -> None:
        """Tell a running trial; the state comes last, so that a kill leaves it to be told again."""
        from optuna.trial import TrialState

        state, value, attributes, curve = _result(trial, records)
        for name, one in attributes.items():
            self.storage.set_trial_user_attr(stored._trial_id, name, one)
        for step, one in curve.items():
            self.storage.set_trial_intermediate_value(stored._trial_id, step, one)
        if state == TrialState.COMPLETE:
            self.study.tell(stored.number, value)
        else:
            self.study.tell(stored.number, state=state)


def _unopened(url: str, error: BaseException) -> KlayerError:
    return KlayerError(
        f"the storage {without_passwords(url)} can't be opened: {_reason(error)}. Check the URL, its "
        "driver and whether the server runs; or leave --storage away."
    )


def _reason(error: BaseException) -> str:
    return without_passwords(str(error.__cause__ or error).strip().splitlines()[0].rstrip("."))


def _hurry(engine: sqlalchemy.Engine) -> None:
    """Let SQLite leave flushing to the system: what a power cut may cost is made again."""
    import sqlalchemy

    @sqlalchemy.event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    engine.dispose()


def _result(
    trial: Trial, records: Sequence[NetworkRecord]
) -> tuple[Any, float | None, dict[str, Any], dict[int, float]]:
    """Return a finished trial's state, value, user attributes and curve {update: mean score}."""
    from optuna.trial import TrialState

    row = trial_row(trial, records)
    state = {"pruned": TrialState.PRUNED, "diverged": TrialState.FAIL}.get(
        row["state"], TrialState.COMPLETE
    )
    name = records[0].score_name
    names = (f"validation_{name}", "validation_sd", f"train_{name}", "train_sd", "failure")
    attributes = {key: row[key] for key in names if row[key] is not None}
    attributes["state"] = row["state"]
    updates = records[0].history["update"]
    curves = np.array(
        [record.history[f"validation_{name}"] for record in records], dtype=float
    )  # (seeds, T); None, where a network had diverged, becomes NaN
    means = curves.mean(axis=0)
    curve = {int(t): float(y) for t, y in zip(updates, means, strict=False) if np.isfinite(y)}
    value = row[f"validation_{name}"]
    if state == TrialState.PRUNED:
        value = curve[max(curve)]  # which is what Optuna takes for a pruned trial's value
    return state, value, attributes, curve
