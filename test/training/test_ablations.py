"""The ablation command on a tiny network: variants differ, runs are shared and resumed, tables are written."""

from __future__ import annotations

import json
import shutil
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from safetensors.torch import save_file

from benchmarks import ablations
from benchmarks.ablation_report import Report, chart, mean_and_error, table
from benchmarks.ablation_runs import RunSpec, Settings
from m2a_core.model import build_model
from m2a_core.training.trainer import Trainer
from test.training.synthetic import TINY

pytestmark = pytest.mark.slow

REPORT = Report(
    "9",
    "Two <halves>",
    "they agree",
    {"S1": [{"AuPRC": 0.5, "FPR95": 0.1}, {"AuPRC": 0.7, "FPR95": 0.1}], "S2": [{"AuPRC": 0.6, "FPR95": 0.2}]},
    "setup",
    "python x.py",
)


def test_a_table_has_means_errors_and_the_number_of_seeds():
    text = table(REPORT)
    assert "| S1 | 60.0 ± 10.0 | 10.0 ± 0.0 | 2 |" in text
    assert "| S2 | 60.0 | 20.0 | 1 |" in text
    assert "The paper: they agree." in text
    assert "```bash\npython x.py\n```" in text
    assert mean_and_error([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1 / 3**0.5))


def test_a_plot_has_a_bar_per_value_and_an_error_where_there_are_seeds():
    root = ElementTree.fromstring(chart(REPORT))
    tag = "{http://www.w3.org/2000/svg}"
    parts = [part for part in root.iter() if part.get("class")]
    bars = [
        float(r.get("width")) for r in parts if r.tag == f"{tag}rect" and r.get("height") == "12" and r.get("x") == "12"
    ]
    full = 460 - 12 - 60
    assert sorted(bars) == pytest.approx([full * share for share in (0.1, 0.2, 0.6, 0.6)], abs=0.1)
    errors = [line for line in parts if line.tag == f"{tag}line" and line.get("class") == "ink"]
    assert len(errors) == 2
    assert "60.0 ± 10.0" in "".join(root.itertext())


@pytest.fixture
def rehearsal(tmp_path, data_root, tiny_in_zoo, monkeypatch):
    """What calls the command with two steps on the drawn data, and its settings."""
    config = yaml.safe_load((data_root / "config" / "train.yaml").read_text(encoding="utf-8"))
    (tmp_path / "config").mkdir()
    shutil.copy(data_root / "config" / "kinds.yaml", tmp_path / "config" / "kinds.yaml")
    config["stages"] = config["stages"][:1]
    path = tmp_path / "config" / "ablations.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    start = tmp_path / "known.safetensors"
    save_file(build_model(TINY).state_dict(), start)

    def call(*more: str) -> None:
        arguments = [
            "--start",
            start,
            "--steps",
            "2",
            "--config",
            path,
            "--data-root",
            data_root,
            "--frames",
            "2",
            "--runs",
            tmp_path / "runs",
            "--docs",
            tmp_path / "docs",
        ]
        monkeypatch.setattr(sys, "argv", ["benchmarks/ablations.py", *map(str, arguments), *more])
        ablations.main()

    return call, Settings(path, data_root, tmp_path / "runs", start, 2, None, 2, "none")


def test_variants_override_what_their_table_names(rehearsal):
    _, settings = rehearsal
    plain = settings.train_config(RunSpec(contrastive="none"), 0)
    assert plain.stages[0].outlier_prob == 0
    changed = settings.train_config(
        RunSpec("masked", "bce", 0.5, 0.2, 1, 1, ("hard", "poisson"), 0.0, (0.1, 0.2), "class", 3.0, 2.0), 4
    )
    assert (changed.attention, changed.seed, changed.data.void) == ("masked", 5, "class")
    stage, data = changed.stages[0], changed.data
    assert (stage.iterations, stage.outlier_prob, stage.loss.contrastive, stage.loss.margin) == (2, 0.2, "bce", 0.5)
    assert (stage.loss.lovasz, stage.loss.semantic) == (3.0, 2.0)
    assert (data.outliers.subset, data.outliers.limit) == (1, 1)
    assert (data.blend.modes, data.blend.on_road, data.blend.metres) == (("hard", "poisson"), 0.0, (0.1, 0.2))


def test_a_table_is_trained_once_resumed_where_it_was_killed_and_written(rehearsal, tmp_path, monkeypatch):
    rehearse, _ = rehearsal
    trained = []
    run = Trainer.run

    def count(self):
        trained.append(self.out.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return run(self)

    monkeypatch.setattr(Trainer, "run", count)
    with pytest.raises(KeyboardInterrupt):
        rehearse("--table", "fig14", "--seeds", "0")
    rehearse("--table", "fig14", "--seeds", "0")
    # The first run was done, the second began anew, the third is the last.
    assert len(trained) == 4
    assert len(set(trained)) == 3
    rehearse("--table", "fig14", "--seeds", "0")
    assert len(trained) == 4
    text = (tmp_path / "docs" / "fig14.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in ("printed", "text", "BCE"))
    assert "2 steps of 2 crops of 64x96 pixels" in text
    start = tmp_path / "known.safetensors"
    assert f"python benchmarks/ablations.py --table fig14 --start {start} --steps 2 --seeds 0 --frames 2\n" in text
    assert (tmp_path / "docs" / "fig14.svg").is_file()
    results = [json.loads(p.read_text()) for p in (tmp_path / "runs").glob("*/result.json")]
    assert len(results) == 3
    assert all(np.isfinite([r["miou"], r["refined_auprc"], r["anomaly_fpr95"]]).all() for r in results)
