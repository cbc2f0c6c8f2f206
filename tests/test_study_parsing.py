import pytest

from klayer.errors import KlayerError
from klayer.study import Study, describe, read_study
from klayer.train import Settings


def write(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", r"my\.toml: unknown key 'nmae': did you mean 'name'\?"),
        (
            "[settings]\nbatchnorm = 'all'",
            r"my\.toml: settings: unknown setting 'batchnorm': did you mean 'batch_norm'",
        ),
        (
            "[grid]\nl2 = [0, 0.0]",
            "grid: a list must have each value once, but two arms have the same",
        ),
        ("[settings]\nl2 = 'much'", "settings: `l2` must be a number >= 0, but got l2='much'"),
        ("[settings]\nl2 = '0.01'", "settings: `l2` must be a number >= 0, but got l2='0.01'"),
        ("[settings]\nbatch_size = '20'", "`batch_size` must be a whole number >= 1, .*='20'"),
        ("[settings]\nbatch_size = 20.0", "`batch_size` must be a whole number >= 1, .*=20.0"),
        ("[settings]\ncycles = '1'", "`cycles` must be a number > 0, but got cycles='1'"),
        ("[settings]\nupdates_at_once = '2'", "must be 'auto' or a whole number >= 1, .*='2'"),
        ("[settings]\nhidden = ['20']", "`hidden` must be whole numbers >= 1, but got"),
        ("[settings]\nhidden = [20.0]", "`hidden` must be whole numbers >= 1, but got"),
        ("[settings]\nhidden = 50", r"must be a list of whole numbers, as in \[10, 20\], .*=50"),
        ("[settings]\norder_seed = true", "must be a whole number >= 0, but got order_seed=True"),
        ("[grid]\nbatch_size = [20, '50']", "grid: `batch_size` must be a whole number >= 1"),
        ("[[arms]]\nl2 = '0.01'", "`l2` must be a number >= 0, but got l2='0.01'"),
        ("[search]\nstages = [{batch_size = ['20', '50']}]", "stage 1: `batch_size` must be a"),
        ("[grid]\nl2 = []", "my.toml, `grid.l2`: must have at least 1"),
        (
            "[[published]]\nsource = 'x'\nwhere = {batchnorm = 'all'}",
            r"my\.toml: published: unknown setting 'batchnorm': did you mean 'batch_norm'",
        ),
        (
            "[search]\nstages = [{l2 = '1:2'}]\nfinalists = {cycles = inf}",
            "search, `finalists.cycles`: must be a finite number, but got inf",
        ),
        ("[search]\nstages = [{l2 = '1:2', trials = true}]", "`trials` must be a whole number"),
        ("data = ''", r"my\.toml: `data` must name a data set, but got ''"),
        ("[settings]\nlr_min = 1.0", "settings: `0 <= lr_min <= lr_max` must hold"),
        ("seeds = 0", r"my\.toml: `seeds` must be a number >= 1, or a list .* but got 0"),
        ("seeds = [1, 1]", "`seeds` must be a number >= 1, or a list of different"),
        (
            "seeds = 'four'",
            "`seeds`: must be a whole number or a list of whole numbers, .*but got 'four'",
        ),
        ("[[arms]]\nname='a'\n[[arms]]\nname='a'\nl2=0", "two are called 'a'"),
        ("x = [", r"my\.toml must be TOML, but: "),
        ("[grid]\ninit = 3", "my.toml, `grid.init`: "),
    ],
)
def test_a_mistake_in_a_study_is_named_with_file_and_rule(tmp_path, text, message):
    with pytest.raises(KlayerError, match=message):
        read_study(write(tmp_path, text))


def test_a_missing_file_and_an_unknown_preset_are_refused(tmp_path):
    with pytest.raises(KlayerError, match="no such file: .*none.toml"):
        read_study(tmp_path / "none.toml")
    with pytest.raises(KlayerError, match="unknown study 'reprot': did you mean 'report'"):
        read_study("reprot")


def test_the_grid_is_crossed_and_arms_come_after(tmp_path):
    path = write(
        tmp_path,
        "seeds = [3, 5]\n[settings]\nl2 = 0.5\n[grid]\nbatch_norm = ['none', 'all']\nl2 = [0, 1]\n"
        "[[arms]]\nname = 'wide'\nhidden = [200]\n",
    )
    study = read_study(path)
    arms = study.arms
    assert study.seeds == (3, 5)
    assert [(arm.settings.batch_norm, arm.settings.l2) for arm in arms] == [
        ("none", 0),
        ("none", 1),
        ("all", 0),
        ("all", 1),
        ("none", 0.5),
    ]
    assert arms[-1].name == "wide"
    assert len({arm.name for arm in arms}) == 5


@pytest.mark.parametrize("name", ["report", "quick"])
def test_presets_cross_depth_normalisation_and_initialisation(name):
    arms = read_study(name).arms
    grid = {(len(a.settings.hidden), a.settings.batch_norm, a.settings.init) for a in arms}
    assert len(grid) == len(arms) == 2 * 3 * 4


def test_every_published_number_belongs_to_an_arm_of_its_preset():
    study = read_study("report")
    for published in study.published:
        matching = [arm for arm in study.arms if published.matches(arm.settings)]
        assert len(matching) == (1 if published.where["batch_norm"] == "none" else 2)


def test_plain_values_are_checked_as_settings():
    assert Settings.from_values({"hidden": [3], "cycles": 1}, "flags") == Settings(
        hidden=(3,), cycles=1
    )
    with pytest.raises(
        KlayerError, match="flags: `batch_size` must be a whole number >= 1, .*='x'"
    ):
        Settings.from_values({"batch_size": "x"}, "flags")
    with pytest.raises(KlayerError, match="here: unknown key 'arm': did you mean 'arms'"):
        Study.from_values({"arm": []}, "here")


def test_a_description_names_depth_widths_normalisation_and_initialisation():
    assert describe(Settings(hidden=(), init="xavier")) == "1-layer [], no BN, xavier"
