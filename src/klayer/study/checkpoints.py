"""The states of populations under way: the last one kept, and the one before it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from klayer.files import Damaged, move, own_folder, remove
from klayer.train import TrainingState

__all__ = ["Checkpoints"]


class Checkpoints:
    """The folder ``checkpoints`` of a run.

    Parameters
    ----------
    run : Path
        The run directory.
    sealed : bool
        Whether each file must have a digest.
    """

    def __init__(self, run: Path, *, sealed: bool) -> None:
        self.run, self.sealed = run, sealed

    def _paths(self, name: str) -> tuple[Path, Path]:
        folder = self.run / "checkpoints"
        return folder / f"{name}.safetensors", folder / f"{name}.before.safetensors"

    def save(self, name: str, state: TrainingState) -> None:
        """Keep the state of population ``name``, beside the one that was kept before."""
        now, before = self._paths(name)
        own_folder(self.run, "checkpoints")
        if now.exists():
            move(now, before)
        state.save(now)

    def has(self, name: str) -> bool:
        """Whether anything is kept of population ``name``."""
        return any(path.exists() for path in self._paths(name))

    def load(self, name: str, damaged: Callable[[str], None]) -> TrainingState | None:
        """Return the state of population ``name`` that was kept; None if there is none.

        Parameters
        ----------
        name : str
        damaged : callable
            Hears of one that can't be read, and what is done about it: it is removed, and the one
            before is taken.
        """
        for path, instead in zip(
            self._paths(name),
            ("Its networks go on from the checkpoint before.", "They are trained from the start."),
            strict=True,
        ):
            try:
                if path.exists():
                    return TrainingState.load(path, sealed=self.sealed)
            except (Damaged, LookupError, TypeError, ValueError, AttributeError) as error:
                known = isinstance(error, Damaged)
                what = str(error) if known else f"{path} is damaged: {error!r}."
                damaged(f"{what} {instead}")
                remove(path)  # so that it never takes the place of the one before
        return None

    def forget(self, name: str) -> None:
        """Remove what is kept of population ``name``, which is finished."""
        for path in self._paths(name):
            remove(path)

    def clear(self, prefix: str = "") -> None:
        """Remove what is kept of populations whose names begin with ``prefix``; of all, the folder."""
        folder = self.run / "checkpoints"
        for left in folder.glob(f"{prefix}*"):
            remove(left)
        if not prefix:
            with contextlib.suppress(OSError):  # it isn't there, or holds something
                folder.rmdir()
