"""A graph of ONNX under construction: nodes and constants, each by a name of its own."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["ML_OPSET", "OPSET", "Graph", "require_onnx", "written"]

# Of 2022 and before: what reads ONNX today reads these.
OPSET, ML_OPSET, IR_VERSION = 18, 3, 8
_ML = "ai.onnx.ml"


def require_onnx(*packages: str) -> None:
    """Refuse to go on without the packages that an extra of klayer brings.

    Raises
    ------
    KlayerError
        With the line that installs them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise KlayerError(
            f"ONNX needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed: pip install 'klayer[onnx]'."
        )


def written(text: str) -> str:
    """Return a text as files of ONNX hold it: the bytes of a name that is no text as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Graph:
    """Nodes and constants; every value has a name of its own.

    Parameters
    ----------
    taken : names that inputs and outputs have
    """

    def __init__(self, taken: set[str]) -> None:
        self._taken = set(taken)
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def _own(self, name: str) -> str:
        number, found = 1, name
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found

    def constant(self, name: str, values: Any) -> str:
        """Add an array; return its name."""
        name = self._own(name)
        self.constants[name] = np.asarray(values)
        return name

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its first result, ``out`` if that is said."""
        from onnx import helper

        ml = kind == "LabelEncoder"
        many = 2 if kind == "TopK" else 1
        outs = [out or self._own(kind.lower()) for _ in range(many)]
        domain = {"domain": _ML} if ml else {}
        self.nodes.append(helper.make_node(kind, list(inputs), outs, **domain, **attributes))
        return outs[0]

    def cast(self, x: str, dtype: Any) -> str:
        """Add a conversion to a dtype of NumPy."""
        from onnx import helper

        return self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def model(
        self,
        inputs: list[ValueInfoProto],
        outputs: list[ValueInfoProto],
        doc: str,
        version: str,
        properties: dict[str, str],
    ) -> ModelProto:
        """Return the whole, checked by ONNX."""
        from onnx import checker, helper

        ml = any(node.domain == _ML for node in self.nodes)
        opsets = [helper.make_opsetid("", OPSET), *([helper.make_opsetid(_ML, ML_OPSET)] * ml)]
        constants = [_tensor(name, values) for name, values in self.constants.items()]
        graph = helper.make_graph(self.nodes, "klayer", inputs, outputs, constants, doc)
        made = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="klayer",
            producer_version=version,
            doc_string=doc,
        )
        helper.set_model_props(made, properties)
        checker.check_model(made, full_check=True)
        return made


def _tensor(name: str, values: NDArray[Any]) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    if values.dtype.kind in "UO":
        texts: Any = [written(str(one)).encode() for one in values.ravel().tolist()]
        return helper.make_tensor(name, TensorProto.STRING, values.shape, texts)
    return numpy_helper.from_array(np.ascontiguousarray(values), name)
