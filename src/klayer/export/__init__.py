"""Trained networks for other programs: ONNX, safetensors, CSV, each with a model card."""

from klayer.export.export_model import export_model
from klayer.export.exported import Exported, exported
from klayer.export.formats import EXPORTS
from klayer.export.load import load_model
from klayer.export.of_run import of_run
from klayer.export.onnx_model import OnnxModel
from klayer.export.verify import Verified
from klayer.export.write import Written, write_export

__all__ = [
    "EXPORTS",
    "Exported",
    "OnnxModel",
    "Verified",
    "Written",
    "export_model",
    "exported",
    "load_model",
    "of_run",
    "write_export",
]
