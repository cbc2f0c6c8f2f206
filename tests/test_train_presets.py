"""Settings that come with klayer."""

import pytest
from typer.testing import CliRunner

from klayer.cli.app import app
from klayer.cli.complete import complete_settings
from klayer.errors import KlayerError
from klayer.study import Run
from klayer.train import Settings
from klayer.train.presets import preset_names, read_preset

BRIEF = ["--data", "digits", "--hidden", "10", "--half-cycle", "4 updates", "-q", "--no-report"]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_settings_and_a_data_set(name):
    values = read_preset(name)
    assert values.pop("data") == "cifar10"
    settings = Settings.from_values(values, name)
    assert settings.augment.startswith("mirror,crop")
    assert complete_settings(name[:2]) == [
        one for one in preset_names() if one.startswith(name[:2])
    ]


def test_flags_win_over_a_preset(tmp_path):
    out = tmp_path / "run"
    result = CliRunner().invoke(app, ["train", "--preset", "small", *BRIEF, "--out", str(out)])
    assert result.exit_code == 0, result.output
    (record,) = Run(out).networks
    assert record.settings.optimiser == read_preset("small")["optimiser"]
    assert record.settings.hidden == (10,)


def test_an_unknown_preset_and_two_sources_are_refused(tmp_path):
    def error(*args):
        return str(CliRunner().invoke(app, ["train", *args]).exception)

    assert "unknown preset 'smal': did you mean 'small'" in error("--preset", "smal")
    path = tmp_path / "my.toml"
    path.write_text("l2 = 0.1\n")
    assert "settings have one source" in error("--preset", "small", "--config", str(path))
    assert isinstance(CliRunner().invoke(app, ["train", "--preset", "big"]).exception, KlayerError)
