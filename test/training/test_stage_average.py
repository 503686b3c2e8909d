"""A stage's result averaged with its start, also over a kill; stages with blends, crops and frames of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m2a_core.errors import CheckpointError, ConfigError
from m2a_core.labels.builtin import CAMVID11
from m2a_core.training.batches import Batches
from m2a_core.training.config import StageConfig, TrainConfig
from m2a_core.training.outliers import AnomalyMix, cut_known_objects
from m2a_core.training.strict import from_dict
from test.training.synthetic import STAGES, cutout, frames, tiny_trainer, train_config

pytestmark = pytest.mark.slow


def weights(trainer) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in trainer.averages.network.state_dict().items() if x.is_floating_point()}


def after(stages: list[dict], folder: Path) -> dict[str, torch.Tensor]:
    trainer = tiny_trainer(folder, train_config(stages=stages))
    assert trainer.run()
    return weights(trainer)


def test_the_result_lies_between_the_start_of_the_stage_and_its_end(tmp_path):
    first, second = STAGES[0] | {"iterations": 2}, STAGES[1] | {"iterations": 2}
    start, end = after([first], tmp_path / "start"), after([first, second], tmp_path / "end")
    assert any(not torch.equal(start[name], end[name]) for name in start)
    for share in (0.0, 0.25, 1.0):
        averaged = second | {"average": {"with": "start", "share": share}}
        for name, value in after([first, averaged], tmp_path / str(share)).items():
            torch.testing.assert_close(value, share * start[name] + (1 - share) * end[name], rtol=0, atol=1e-6)


def test_a_run_killed_within_the_stage_gives_the_same_average(tmp_path):
    stages = [STAGES[0] | {"iterations": 2}, STAGES[1] | {"iterations": 4, "average": {"with": "start", "share": 0.5}}]
    config = train_config(stages=stages, checkpoint_every=1)
    whole = tiny_trainer(tmp_path / "whole", config)
    assert whole.run()
    killed = tiny_trainer(tmp_path / "killed", config)
    get = killed.batches.get

    def until_stopped(stage, index, step):
        if (index, step) == (1, 2):
            killed.stop = True
        return get(stage, index, step)

    killed.batches.get = until_stopped  # type: ignore[assignment]
    assert not killed.run()
    resumed = tiny_trainer(tmp_path / "killed", config)
    resumed.resume()
    assert resumed.progress.stage == 1
    assert resumed.run()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name])


def test_an_average_that_is_asked_for_within_the_stage_is_refused_before_its_steps(tmp_path):
    stages = [STAGES[0] | {"iterations": 3}]
    stopped = tiny_trainer(tmp_path, train_config(stages=stages, checkpoint_every=2))
    get = stopped.batches.get

    def until_stopped(stage, index, step):
        stopped.stop = step == 1
        return get(stage, index, step)

    stopped.batches.get = until_stopped  # type: ignore[assignment]
    assert not stopped.run()
    asked = [stages[0] | {"average": {"with": "start", "share": 0.5}}]
    with pytest.raises(CheckpointError, match="lacks the weights that stage 'known' began with"):
        tiny_trainer(tmp_path, train_config(stages=asked)).resume()


@pytest.mark.parametrize("average", [{"with": "end"}, {"share": 1.5}, {"with_": "start"}])
def test_an_average_with_something_else_is_refused(average):
    with pytest.raises(ConfigError, match=r"stages\[0\]\.average"):
        from_dict(TrainConfig, {"name": "x", "model": "tiny", "stages": [STAGES[0] | {"average": average}]})


def test_a_stage_overrides_crop_blend_and_frames():
    known = frames(2)
    mix = AnomalyMix([cutout("ball", (250, 20, 200))], cut_known_objects(known))
    other = [frames(5)[4]]
    stages = [
        STAGES[1],
        STAGES[1]
        | {
            "name": "other",
            "augment": {"crop": [32, 64]},
            "blend": {"large": 1.0, "on_road": 0.0},
            "outlier_prob": 1.0,
        },
    ]
    config = train_config(stages=stages)
    batches = Batches(known, mix, CAMVID11, config.data, 1, {1: other})
    first, second = config.stages
    assert batches.get(first, 0, 0)[0].shape[2:] == (64, 96)
    images, targets = batches.get(second, 1, 0)
    assert images.shape[2:] == (32, 64)
    assert all(target.outlier.float().mean() > 0.05 for target in targets)
    assert mix.blend.large == 0.0
    assert StageConfig("s", iterations=1).augment is None


def test_the_result_of_a_run_lies_between_its_end_and_an_earlier_stage_also_over_a_kill(tmp_path):
    stages = [STAGES[0] | {"iterations": 2}, STAGES[1] | {"iterations": 2}]
    early = tiny_trainer(tmp_path / "early", train_config(stages=stages[:1]))
    plain = tiny_trainer(tmp_path / "plain", train_config(stages=stages))
    config = train_config(stages=stages, average={"with": STAGES[0]["name"], "share": 0.25}, checkpoint_every=1)
    mixed = tiny_trainer(tmp_path / "mixed", config)
    assert early.run()
    assert plain.run()
    assert mixed.run()
    resumed = tiny_trainer(tmp_path / "mixed", config)
    resumed.resume()
    first, last = early.result(), plain.result()
    for result in (mixed.result(), resumed.result()):
        for name, value in result.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, 0.25 * first[name] + 0.75 * last[name], rtol=0, atol=1e-6)


def test_a_run_that_lacks_the_earlier_stage_says_so_before_its_steps(tmp_path):
    stages = [STAGES[0] | {"iterations": 1}, STAGES[1] | {"iterations": 1}]
    assert tiny_trainer(tmp_path, train_config(stages=stages)).run()
    resumed = tiny_trainer(tmp_path, train_config(stages=stages, average={"with": STAGES[0]["name"], "share": 0.5}))
    with pytest.raises(CheckpointError, match=f"lacks the result of stage '{STAGES[0]['name']}'"):
        resumed.resume()


def test_the_kept_weights_of_one_stage_are_not_taken_for_those_of_another(tmp_path):
    first, second = STAGES[0]["name"], STAGES[1]["name"]
    stages = [STAGES[0] | {"iterations": 1}, STAGES[1] | {"iterations": 1}, STAGES[1] | {"name": "c", "iterations": 1}]
    assert tiny_trainer(tmp_path, train_config(stages=stages, average={"with": first, "share": 0.5})).run()
    resumed = tiny_trainer(tmp_path, train_config(stages=stages, average={"with": second, "share": 0.5}))
    with pytest.raises(CheckpointError, match=f"lacks the result of stage '{second}'.*it keeps that of '{first}'"):
        resumed.resume()


def test_the_average_of_a_run_names_an_earlier_stage():
    with pytest.raises(ConfigError, match=r"average\.with"):
        train_config(average={"with": "nowhere", "share": 0.5})
