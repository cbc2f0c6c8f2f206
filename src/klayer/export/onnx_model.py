"""A file of ONNX that klayer wrote, ready to judge rows: by onnxruntime."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klayer.data import Encoder
from klayer.errors import KlayerError
from klayer.export.onnx_graph import require_onnx
from klayer.export.onnx_inputs import feed
from klayer.export.safetensors import FORMAT
from klayer.files import Damaged, require_seal
from klayer.model import labels_of, names_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["OnnxModel"]

# Under which name the file's properties have its digest; in the file, a length stands between.
DIGEST = "klayer.digest"
_PLACE = re.compile(re.escape(DIGEST).encode() + rb"\x12\x20([0-9a-f]{32})")
# Rows at a time: their activations of all networks are in memory at once.
ROWS = 1000


def digest_place(content: bytes) -> int | None:
    """Return where a file's digest begins: the last such place; None if it has none."""
    found = list(_PLACE.finditer(content))
    return found[-1].start(1) if found else None


class OnnxModel:
    """What a file of ONNX answers to raw rows, by onnxruntime.

    It has the methods of :class:`klayer.Ensemble`: several networks are one graph that averages.

    Parameters
    ----------
    content : bytes
        Of the file.
    where : str
        What it is called in messages.

    Attributes
    ----------
    task : {"classification", "regression", "multilabel"}
    class_names : tuple of str
    encoder : Encoder or None
        Of a table's columns.
    n_features : int
        D, of rows that are arrays.
    about : dict
        What is known of data and networks.

    Raises
    ------
    KlayerError
        If onnxruntime is not installed.
    Damaged
        If it is no ONNX, or none that klayer wrote.
    """

    def __init__(self, content: bytes, where: str) -> None:
        require_onnx("onnxruntime")
        import onnxruntime

        self._made_of = content, where
        at = digest_place(content)
        if at is not None:
            require_seal(content, at, where)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session: InferenceSession = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            stored = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # a class of its own for each kind of damage
            said = str(error).splitlines()[0]
            raise Damaged(f"{where} must be a whole file of ONNX, but: {said:.200}.") from None
        try:
            plain = json.loads(stored["klayer"])
            if plain["format"] != FORMAT or at is None:
                raise ValueError(f"it says {plain['format']!r:.60}")
            encoder = plain["encoder"]
            self.encoder = None if encoder is None else Encoder.from_plain(encoder)
            self.task = str(plain["task"])
            self.class_names = tuple(map(str, plain["class_names"]))
            self.n_features = int(plain["models"][0]["network"]["n_features"])
            quantiles = plain["models"][0]["network"].get("quantiles", [])
            self.about = dict(plain["about"])
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise Damaged(
                f"{where} must be an ONNX file that klayer wrote, but isn't ({error}): call onnxruntime "
                "for it."
            ) from None
        self.output_names = self.class_names
        if quantiles:
            self.output_names = tuple(
                f"{name} q{one:g}" for name in self.class_names for one in quantiles
            )

    def __repr__(self) -> str:
        """Say for what it is."""
        return f"<OnnxModel for {self.task}>"

    def __reduce__(self) -> tuple[type[OnnxModel], tuple[bytes, str]]:
        """Be copied and pickled by the file's content: a session can't be."""
        return type(self), self._made_of

    def run(self, X: Any) -> list[NDArray[Any]]:
        """Return what the graph gives for raw rows, as its outputs are."""
        kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64}
        dtypes = {
            one.name: np.dtype(kinds.get(one.type, object)) for one in self._session.get_inputs()
        }
        fed = feed(self.encoder, self.n_features, dtypes, X)
        total = len(next(iter(fed.values())))
        parts = [
            self._session.run(
                None, {name: values[start : start + ROWS] for name, values in fed.items()}
            )
            for start in range(0, max(1, total), ROWS)
        ]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def predict(self, X: Any) -> NDArray[Any]:
        """Return probabilities, or values in the targets' unit, of raw rows (N, D), (N, outputs).

        Raises
        ------
        KlayerError
            If the rows don't fit, or are so large that the graph has no finite answer.
        """
        answers = self.run(X)[-1]
        wrong = ~np.isfinite(answers).all(axis=-1)
        if wrong.any():
            raise KlayerError(
                f"the graph gives an answer that is not finite for row {int(wrong.argmax())} of "
                "`X`: it must be near enough to the rows of training to be calculated with. Is it in "
                "other units?"
            )
        return answers

    def predict_labels(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the index of the most probable class, (N,); of several labels 0 or 1, (N, K)."""
        return labels_of(self.predict(X), self.task)

    def predict_names(self, X: ArrayLike) -> NDArray[np.str_]:
        """Return the most probable class of raw rows by its name, (N,)."""
        return names_of(self.predict(X), self.task, self.class_names)

    @classmethod
    def read(cls, path: Path) -> OnnxModel:
        """Read a file."""
        from klayer.files import read_bytes

        return cls(read_bytes(path), str(path))
