"""Foreign files in, our weights out: every tensor accounted for, every damage named, nothing half-written."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import load_file  # noqa: E402

from m2a_core.bundle.loading import sha256_of  # noqa: E402
from m2a_core.errors import CheckpointError  # noqa: E402
from m2a_core.labels.builtin import CITYSCAPES19  # noqa: E402
from m2a_core.model import backbones, build_model  # noqa: E402
from m2a_core.model.backbones.resnet import ResNet  # noqa: E402
from m2a_core.model.backbones.swin import Swin, SwinConfig  # noqa: E402
from m2a_core.model.checkpoints.convert import load_foreign  # noqa: E402
from m2a_core.model.checkpoints.reading import read_metadata, read_state_dict  # noqa: E402
from m2a_core.model.checkpoints.store import load_weights, read_manifest, save_weights  # noqa: E402
from m2a_core.model.checkpoints.tensor_file import write_tensors  # noqa: E402
from test.model import official_reference as official  # noqa: E402
from test.model.test_official_equality import small_config  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SHAPES = official.official_shapes()
STATE = official.random_state(SHAPES)
CLASS_HEAD = "sem_seg_head.predictor.class_embed.weight"


@pytest.fixture(autouse=True, scope="module")
def small_backbones():
    swin = SwinConfig(32, (2, 2, 2, 2), (1, 2, 4, 8), 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "small_resnet", lambda: ResNet((2, 2, 2, 2), stem_channels=16))
        patch.setitem(backbones.BACKBONES, "small_swin", lambda: Swin(swin))
        yield


@pytest.fixture
def model():
    return build_model(small_config())


def write(path, state, **extra):
    torch.save({"model": state, "iteration": 5000, **extra}, path)
    return path


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_official_file_fills_everything_and_names_what_it_left(model, tmp_path):
    loaded = load_foreign(model, write(tmp_path / "a.pth", STATE, optimizer={"state": {}, "lr": 1e-4}))
    assert loaded.kind == "official"
    assert loaded.initialised == ()
    assert loaded.filled == len(model.state_dict())
    assert loaded.sha256 == sha256_of(tmp_path / "a.pth")
    assert {re.sub(r"\.\d+\.", ".N.", name) for name in loaded.unused} == {
        "criterion.empty_weight",
        "sem_seg_head.predictor.transformer_cross_attention_layers.N.fusion_layer.weight",
        "sem_seg_head.predictor.transformer_cross_attention_layers.N.fusion_layer.bias",
    }
    packed = STATE["sem_seg_head.predictor.transformer_self_attention_layers.2.self_attn.in_proj_weight"]
    attention = model.transformer_decoder.layers[2].self_attention
    assert torch.equal(torch.cat([p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj)]), packed)


def test_what_a_trainer_keeps_beside_the_weights_does_no_harm(model, tmp_path):
    kept = {"last_lr": [np.float64(1e-5), np.float32(0.1)], "steps": np.int64(5), "times": np.zeros(3)}
    load_foreign(model, write(tmp_path / "a.pth", STATE, scheduler=kept, trainer={"iteration": 4999, "hooks": {}}))


def test_batch_norm_counters_may_be_missing(model, tmp_path):
    state = {name: tensor for name, tensor in STATE.items() if not name.endswith("num_batches_tracked")}
    load_foreign(model, write(tmp_path / "a.pth", state))
    assert all(int(t) == 0 for name, t in model.state_dict().items() if name.endswith("num_batches_tracked"))


@pytest.mark.slow
def test_names_of_the_first_releases_are_understood(model, tmp_path):
    old = {
        name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.").replace(".query_feat.", ".static_query."): tensor
        for name, tensor in STATE.items()
    }
    assert old.keys() != STATE.keys()
    load_foreign(model, write(tmp_path / "old.pth", old))
    other = build_model(small_config())
    load_foreign(other, write(tmp_path / "new.pth", STATE))
    assert equal(model.state_dict(), other.state_dict())


@pytest.mark.slow
def test_a_pickle_of_arrays_loads_like_the_tensors(model, tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in STATE.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}))
    load_foreign(model, tmp_path / "a.pkl")
    other = build_model(small_config())
    load_foreign(other, write(tmp_path / "a.pth", STATE))
    assert equal(model.state_dict(), other.state_dict())


class Evil:
    def __reduce__(self):
        return pytest.fail, ("the file's code ran",)


@pytest.mark.parametrize("container", ["pickle", "torch"])
def test_a_file_that_would_run_code_is_refused(model, tmp_path, container):
    path = tmp_path / "evil.pkl"
    if container == "pickle":
        path.write_bytes(pickle.dumps({"model": {"a": Evil()}}))
    else:
        torch.save({"model": STATE, "hook": Evil()}, path)
    with pytest.raises(CheckpointError, match=r"refused what else it holds \((it|the pickle) asks for \S+"):
        load_foreign(model, path, "official")


def without(name):
    return {k: v for k, v in STATE.items() if k != name}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without(CLASS_HEAD), rf"missing \(1\):\n +{CLASS_HEAD} \[12, 64\]"),
        ({**STATE, "backbone.res6.weight": torch.zeros(3)}, r"unknown \(1\):\n +backbone.res6.weight \[3\]"),
        ({**STATE, CLASS_HEAD: torch.zeros(20, 64)}, rf"{CLASS_HEAD}: expected \[12, 64\], got \[20, 64\]"),
        ({**STATE, CLASS_HEAD: STATE[CLASS_HEAD] * float("nan")}, r"train it again(?s:.*)768 of 768 values are NaN"),
        ({**STATE, CLASS_HEAD: STATE[CLASS_HEAD].to(torch.complex64)}, "expected plain numbers"),
        ({**STATE, CLASS_HEAD: "text"}, "expected tensors by name, got str"),
        ({}, "expected a state dict|expected an official"),
    ],
)
def test_what_does_not_fit_is_named_and_the_model_stays_as_it_was(model, tmp_path, state, message):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_foreign(model, write(tmp_path / "a.pth", state), "official")
    assert equal(before, model.state_dict())


def test_an_official_file_does_not_fit_a_masked_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"unknown \(16\)(.|\n)*multihead_attn_background"):
        load_foreign(build_model(small_config("masked")), write(tmp_path / "a.pth", STATE))


@pytest.mark.parametrize("keep", [0, 1, 10, 1000, 100_000])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_refused(model, tmp_path, keep, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        write(path, STATE)
    else:
        save_weights(model, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"a\.(pth|safetensors): (truncated|expected)"):
        load_foreign(model, path, "official")


def test_no_damage_of_a_file_from_before_pytorch_s_zip_format_is_more_than_an_error(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"a": torch.ones(3, 4), "b": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for end in range(0, len(whole), 5):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match="old.pth: "):
            read_state_dict(path)
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + random.bytes(1) + whole[place + 1 :])
        with contextlib.suppress(CheckpointError):
            read_state_dict(path)


@pytest.mark.parametrize("header", [b"[" * 10_000, b'{"__metadata__": ["a"]}', b'{"__metadata__": null}', b"[]", b"1"])
def test_header_that_is_none_is_refused(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_metadata(path)


def test_manifest_that_is_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors({"a": torch.zeros(1)}, path, {"m2a": "[" * 10_000})
    with pytest.raises(CheckpointError, match="expected weights written by m2a"):
        read_manifest(path)


def test_other_files_and_directories_are_refused(model, tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    for path, message in (
        (tmp_path / "text.pth", "truncated or no checkpoint|refused"),
        (tmp_path / "none.pth", "no such file"),
        (tmp_path, "expected model.safetensors"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_foreign(model, path, "official")


@pytest.mark.slow
def test_mask2former_leaves_the_background_attention_as_initialised(model, tmp_path):
    state = official.random_state(official.official_shapes(official.SMALL, official.MASKED))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loaded = load_foreign(model, write(tmp_path / "a.pth", state))
    assert loaded.kind == "mask2former"
    assert len(loaded.initialised) == 4 * 8
    assert all(".mask_attention.background." in name for name in loaded.initialised)
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in loaded.initialised)
    assert loaded.describe().endswith(
        "initialised (32 tensors): transformer_decoder.layers.*.mask_attention.background"
    )
    foreground = model.transformer_decoder.layers[1].mask_attention.foreground.out_proj.weight
    prefix = "sem_seg_head.predictor.transformer_cross_attention_layers.1.multihead_attn"
    assert torch.equal(foreground, state[f"{prefix}.out_proj.weight"])


def torchvision_names(state):
    names = {}
    for name, tensor in state.items():
        if name.startswith("backbone."):
            new = name.removeprefix("backbone.").replace("stem.conv1.norm", "bn1").replace("stem.conv1", "conv1")
            new = new.replace("shortcut.norm", "downsample.1").replace("shortcut", "downsample.0")
            new = re.sub(r"conv(\d)\.norm", r"bn\1", new)
            names[re.sub(r"^res(\d)", lambda m: f"layer{int(m[1]) - 1}", new)] = tensor
    return names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "extra"),
    [
        ("", {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}),
        (
            "module.backbone.",
            {"module.projector.0.weight": torch.zeros(4, 4), "module.bn.running_mean": torch.zeros(4)},
        ),
    ],
)
def test_resnet_files_of_torchvision_and_barlow_twins_initialise_the_backbone(model, tmp_path, prefix, extra):
    names = {prefix + name: tensor for name, tensor in torchvision_names(STATE).items()}
    torch.save({**names, **extra}, tmp_path / "resnet50.pth")
    loaded = load_foreign(model, tmp_path / "resnet50.pth", "backbone")
    assert sorted(loaded.unused) == sorted(extra)
    assert all(name.startswith(("pixel_decoder.", "transformer_decoder.")) for name in loaded.initialised)
    whole = build_model(small_config())
    load_foreign(whole, write(tmp_path / "a.pth", STATE))
    assert equal(model.backbone.state_dict(), whole.backbone.state_dict())


@pytest.mark.slow
def test_swin_releases_initialise_all_but_the_output_norms(tmp_path):
    import dataclasses

    model = build_model(dataclasses.replace(small_config(), backbone="small_swin"))
    shapes = official.swin_shapes(32, (2, 2, 2, 2), (1, 2, 4, 8), 4)
    state = official.random_state(shapes)
    release = {n.removeprefix("backbone."): t for n, t in state.items() if not re.match(r"backbone\.norm\d", n)}
    release |= {
        "norm.weight": torch.ones(256),
        "norm.bias": torch.zeros(256),
        "head.weight": torch.zeros(10, 256),
        "head.bias": torch.zeros(10),
        "layers.0.blocks.1.attn_mask": torch.zeros(4, 16, 16),
    }
    loaded = load_foreign(model, write(tmp_path / "swin.pth", release), "backbone")
    assert len([name for name in loaded.initialised if name.startswith("backbone.")]) == 8
    table = model.state_dict()["backbone.stages.2.1.attention.bias_table"]
    assert torch.equal(table, release["layers.2.blocks.1.attn.relative_position_bias_table"])


def test_a_head_is_no_backbone(model, tmp_path):
    torch.save({"head.weight": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"expected a torchvision or Barlow Twins ResNet"):
        load_foreign(model, tmp_path / "a.pth", "backbone")


@pytest.mark.slow
def test_our_files_come_back_bit_by_bit_with_their_manifest(model, tmp_path):
    path = tmp_path / "deep" / "w.safetensors"
    manifest = save_weights(model, path, {"source": "a.pth"})
    other = build_model(small_config())
    assert load_weights(other, path) == manifest == read_manifest(path)
    assert equal(model.state_dict(), other.state_dict())
    assert manifest["source"] == "a.pth"
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_altered_weights_are_noticed(model, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(model, path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="differ from the hash"):
        load_weights(model, path)


def test_weights_of_another_model_are_refused(model, tmp_path):
    import dataclasses

    path = tmp_path / "w.safetensors"
    save_weights(model, path)
    for config in (small_config("masked"), dataclasses.replace(small_config(), labels=CITYSCAPES19)):
        with pytest.raises(CheckpointError, match="expected weights of"):
            load_weights(build_model(config), path)


def test_a_foreign_safetensors_file_is_not_taken_for_ours(model, tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert read_metadata(tmp_path / "w.safetensors") == {}
    with pytest.raises(CheckpointError, match="convert foreign ones with m2a convert"):
        load_weights(model, tmp_path / "w.safetensors")


def test_what_cannot_be_written_leaves_nothing(model, tmp_path, monkeypatch):
    from m2a_core.model.checkpoints import store

    def fails(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_tensors", fails)
    (tmp_path / "w.safetensors").write_bytes(b"older")
    with pytest.raises(CheckpointError, match="No space left"):
        save_weights(model, tmp_path / "w.safetensors")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("w.safetensors", b"older")]


@pytest.mark.slow
def test_half_precision_becomes_single(model, tmp_path):
    state = {name: t.half() if t.is_floating_point() else t for name, t in STATE.items()}
    load_foreign(model, write(tmp_path / "a.pth", state))
    assert model.transformer_decoder.class_head.weight.dtype == torch.float32
    assert torch.equal(model.transformer_decoder.class_head.weight, STATE[CLASS_HEAD].half().float())


def test_numpy_objects_do_not_pass_as_arrays(model, tmp_path):
    buffer = io.BytesIO()
    pickle.dump({"model": {CLASS_HEAD: np.array([object()])}}, buffer)
    (tmp_path / "a.pkl").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match=r"expected tensors"):
        load_foreign(model, tmp_path / "a.pkl", "official")


WRAPPED = {
    "bare": lambda s: s,
    "DataParallel": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "Lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 3, "callbacks": {"a": {}}},
    "DataParallel in Lightning": lambda s: {"state_dict": {f"model.module.{k}": v for k, v in s.items()}},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {0: {"exp": STATE}}}},
    "two deep": lambda s: {"checkpoint": {"model": s}, "args": {"lr": 0.1}},
    "other name": lambda s: {"weights_of_epoch_3": s, "epoch": 3},
}


@pytest.fixture(scope="module")
def unwrapped(tmp_path_factory):
    """What a network holds after STATE was loaded as Detectron2 writes it."""
    other = build_model(small_config())
    load_foreign(other, write(tmp_path_factory.mktemp("unwrapped") / "b.pth", STATE))
    return other.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_wrappers_around_a_checkpoint_change_nothing(model, unwrapped, tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "a.pth")
    load_foreign(model, tmp_path / "a.pth")
    assert equal(model.state_dict(), unwrapped)


def test_several_state_dicts_are_named(model, tmp_path):
    torch.save({"student": STATE, "teacher": STATE, "epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: holds several state dicts \(student, teacher\)"):
        load_foreign(model, tmp_path / "a.pth")


@pytest.mark.slow
def test_equal_tensors_and_notes_give_equal_bytes_in_every_process(tmp_path):
    notes = {"config": '{"name": "ü"}', "run": "a", "step": "3", "format": "pt", "stages_done": "1"}
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    write_tensors({"b": torch.arange(5.0), "a": torch.ones(2, dtype=torch.int64)}, here, notes)
    program = (
        "import sys, torch\nfrom pathlib import Path\n"
        "from m2a_core.model.checkpoints.tensor_file import write_tensors\n"
        f"notes = {notes!r}\n"
        "write_tensors({'b': torch.arange(5.), 'a': torch.ones(2, dtype=torch.int64)}, Path(sys.argv[1]), notes)\n"
    )
    # Another seed of the hash than that of this process, which is drawn where none is set.
    environment = {**os.environ, "PYTHONHASHSEED": "0" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    subprocess.run([sys.executable, "-c", program, str(there)], check=True, env=environment, cwd=ROOT)
    assert here.read_bytes() == there.read_bytes()
    assert load_file(there)["b"].tolist() == [0, 1, 2, 3, 4]
    assert read_metadata(there)["config"] == '{"name": "ü"}'
