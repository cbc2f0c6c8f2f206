"""`klayer train --find-lr`: a learning-rate range test, its picture, and what it suggests."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from klayer.cli.echo import echo
from klayer.errors import KlayerError

if TYPE_CHECKING:
    from klayer.study import Study

__all__ = ["range_test"]


def range_test(
    study: Study,
    out: Path | None,
    data_dir: Path | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Test the networks of a study's only arm; draw, print and suggest."""
    from klayer.cli.progress import progress
    from klayer.report.range_test import range_figure
    from klayer.train import find_lr

    folder = out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-find-lr"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KlayerError(f"`--out` must be a new or an empty folder, but {folder} is not empty.")
    settings = study.arms[0].settings
    with study.named(), progress(study.data, data_dir, quiet or as_json) as bars:
        dataset = study.load_data(data_dir)
        bars.meter.begin(f"range test on {dataset.name}", 1.0)
        test = find_lr(
            dataset,
            settings=settings,
            seeds=list(study.seeds),
            workers=workers,
            on_progress=bars.meter.move,
        )
    folder.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    files = range_figure(test).save(folder)
    found = test.suggestion
    if as_json:
        plain = {
            "lr_max": found if math.isfinite(found) else None,
            "suggestions": [s if math.isfinite(s) else None for s in test.suggestions.tolist()],
            "seeds": list(study.seeds),
            "rates": test.rates.tolist(),
            "loss": [
                [value if math.isfinite(value) else None for value in loss]
                for loss in test.loss.tolist()
            ],
            "files": [str(path) for path in files],
        }
        echo(json.dumps(plain, indent=1))
        return
    if math.isfinite(found):
        spread = sorted(s for s in test.suggestions.tolist() if math.isfinite(s))
        several = f" ({spread[0]:.2g} to {spread[-1]:.2g})" if len(spread) > 1 else ""
        echo(f"--lr-max {found:g}{several}")
    else:
        echo("no learning rate from 1e-6 to 10 lowers the loss of these networks.")
    if not quiet:
        for path in files:
            echo(str(path))
