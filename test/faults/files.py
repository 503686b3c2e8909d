"""Damaged, forged and hostile files, by the readers that meet them: refused with a reason, or read as they were."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from m2a_core.bundle import signing
from m2a_core.bundle.digest import sealed
from m2a_core.bundle.loading import load_bundle
from m2a_core.bundle.signing import Trust
from m2a_core.errors import M2aError
from m2a_core.files import read_array
from m2a_core.images import read_image
from m2a_core.labels.label_file import read_label_file
from m2a_core.labels.label_map import read_stored_values
from m2a_core.metrics.parity import Parity
from m2a_core.model.checkpoints.reading import read_state_dict
from m2a_core.runtime.factory import create_runtime
from m2a_core.training.config import load_config
from m2a_core.trt.engine_manifest import EngineKey, EngineManifest, load_checked, manifest_path, reference_path
from m2a_ros.parameters.file import read_parameters
from test.faults.messages import png_claiming
from test.faults.mutation import mutated
from test.tiny_bundle import write_tiny_bundle

MEMORY = 12 << 30
"""Address space of a worker: what wants more than this meets a MemoryError, which is a finding."""
_ALIASES = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" if i else "a0: &a0 [x]" for i in range(12))
YAML_BOMBS = (
    _ALIASES,
    "&a [*a]",
    "[" * 100_000,
    "{a: " * 50_000,
    "x: " + "9" * 100_000,
    "? " * 10_000,
    "!!python/object:os.system x",
    "!!python/object/apply:os.system ['touch PWNED']",
    "a: " + "y" * 5_000_000,
    "\0",
    "\ufeff{}",
    "- " * 5000,
    "a: 2026-99-99",
    "? [a]\n: b",
    "a: &x {<<: *x}",
    "%YAML 9.9\n---\na: 1",
)
JSON_BOMBS = (
    "[" * 100_000,
    '{"a":' * 50_000,
    "1" * 100_000,
    '{"format_version": 1e999}',
    "NaN",
    '"\\ud800"',
    "{}",
    "null",
)


class _Runs:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._trace}'",)


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """Files to damage; gives what tries one."""
    yield _Files(folder).case


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bundle = write_tiny_bundle(folder / "tiny", (32, 32))
        self._key = folder / "key.pem"
        self._public = signing.make_keys(self._key)
        self._manifest = (self._bundle / "manifest.json").read_bytes()
        self._graph = (self._bundle / "tiny.onnx").read_bytes()
        signing.sign(self._bundle, self._key)
        self._signature = (self._bundle / signing.FILE_NAME).read_bytes()
        self._loaded = load_bundle(self._bundle).manifest
        self._trace = folder / "PWNED"
        state = {"a.weight": torch.arange(12.0).reshape(3, 4), "b.bias": torch.ones(3)}
        save_file(state, folder / "w.safetensors")
        torch.save(state, folder / "w.pth")
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        (folder / "w.pkl").write_bytes(pickle.dumps({"model": arrays}))
        np.savez(folder / "a.npz", a=arrays["a.weight"], b=arrays["b.bias"])
        np.save(folder / "a.npy", arrays["a.weight"])
        rgb = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
        for name in ("i.png", "i.jpg"):
            cv2.imwrite(str(folder / name), rgb)
        cv2.imwrite(str(folder / "m.png"), rgb[..., 0])
        root = Path(__file__).resolve().parents[2]
        self._yaml = {
            read_parameters: (root / "config/m2a.param.yaml").read_bytes(),
            load_config: (root / "config/training/m2a-edge.yaml").read_bytes(),
            read_label_file: b"name: mine\nclasses:\n- {name: road, id: 1}\n- {name: car, id: 2, thing: true}\n",
        }
        self._engine = self._write_engine()

    def case(self, rng: random.Random, number: int) -> str:
        kinds = (
            self._damaged_manifest,
            self._damaged_graph,
            self._forged_graph,
            self._damaged_signature,
            self._engine_file,
            self._checkpoint,
            self._checkpoint,
            self._array,
            self._picture,
            self._picture,
            self._text,
            self._special,
        )
        kind = kinds[number % len(kinds)]
        outcome = kind(rng)
        assert not self._trace.exists(), "code of a file ran"
        return f"{kind.__name__.strip('_')} {outcome}"

    def _restore(self) -> None:
        (self._bundle / "manifest.json").write_bytes(self._manifest)
        (self._bundle / "tiny.onnx").write_bytes(self._graph)
        (self._bundle / signing.FILE_NAME).write_bytes(self._signature)

    def _damaged_manifest(self, rng: random.Random) -> str:
        self._restore()
        path = self._bundle / "manifest.json"
        data = json.loads(self._manifest)
        classes = data["labels"]["classes"]
        match rng.randrange(6):
            case 0:
                path.write_text(rng.choice(JSON_BOMBS))
            case 1:
                i, j = rng.sample(range(len(classes)), 2)
                classes[i]["name"], classes[j]["name"] = classes[j]["name"], classes[i]["name"]
                path.write_text(json.dumps(data))
            case 2:
                name = rng.choice(sorted(data["thresholds"]))
                data["thresholds"][name] = rng.choice((0.123, 1e308, -1, float("nan"), 10**400, None, "0.5"))
                path.write_text(json.dumps(data))
            case 3:
                data[rng.choice(sorted(data))] = rng.choice((None, 0, "", [], {}, True, -(2**70), "../x", "x" * 10**6))
                path.write_text(json.dumps(data))
            case _:
                path.write_bytes(mutated(self._manifest, rng))

        def load() -> None:
            assert load_bundle(self._bundle).manifest == self._loaded, "another manifest was loaded"

        return _refused_or(load)

    def _damaged_graph(self, rng: random.Random) -> str:
        self._restore()
        changed = mutated(self._graph, rng)
        (self._bundle / "tiny.onnx").write_bytes(changed)
        outcome = _refused_or(lambda: load_bundle(self._bundle))
        assert outcome == "refused" or changed == self._graph
        return outcome

    def _forged_graph(self, rng: random.Random) -> str:
        """A damaged graph whose manifest has its hash: what only a signature tells."""
        self._restore()
        changed = mutated(self._graph, rng)
        data = json.loads(self._manifest)
        data["onnx"]["sha256"] = hashlib.sha256(changed).hexdigest()
        (self._bundle / "tiny.onnx").write_bytes(changed)
        (self._bundle / "manifest.json").write_text(json.dumps(sealed(data)))

        def run() -> None:
            runtime = create_runtime(load_bundle(self._bundle), threads=1)
            runtime.infer(np.zeros((32, 32, 3), np.uint8))
            runtime.close()

        signed = _refused_or(lambda: load_bundle(self._bundle, Trust(True, (self._public,))))
        assert signed == "refused" or changed == self._graph
        return _refused_or(run)

    def _damaged_signature(self, rng: random.Random) -> str:
        self._restore()
        text = rng.choice((*JSON_BOMBS, "")).encode() if rng.random() < 0.1 else mutated(self._signature, rng)
        (self._bundle / signing.FILE_NAME).write_bytes(text)

        def load() -> None:
            bundle = load_bundle(self._bundle, Trust(True, (self._public,)))
            assert bundle.signed == json.loads(self._signature)["files"], "another list of files was accepted"

        return _refused_or(load)

    def _write_engine(self) -> Path:
        engine = self._folder / "e.engine"
        engine.write_bytes(b"engine" * 100)
        reference_path(engine).write_bytes(b"reference" * 100)
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (engine, reference_path(engine))]
        key = EngineKey("0" * 64, "p", "tensorrt", "10.0", "sm87", "Orin", 8192, "fp16", (32, 32), (1,))
        parity = Parity(**dict.fromkeys(Parity.__dataclass_fields__, 0.0))
        EngineManifest(key, digests[0], digests[1], ("layer",), parity, "verified on device", 1.0, (1,)).save(
            manifest_path(engine)
        )
        self._engine_text = manifest_path(engine).read_bytes()
        return engine

    def _engine_file(self, rng: random.Random) -> str:
        manifest_path(self._engine).write_bytes(self._engine_text)
        loaded = load_checked(self._engine)
        target = rng.choice((self._engine, reference_path(self._engine), manifest_path(self._engine)))
        whole = target.read_bytes()
        bomb = target == manifest_path(self._engine) and rng.random() < 0.2
        target.write_bytes(rng.choice(JSON_BOMBS).encode() if bomb else mutated(whole, rng))

        def load() -> None:
            assert load_checked(self._engine) == loaded, "another engine was accepted"

        try:
            return _refused_or(load)
        finally:
            target.write_bytes(whole)

    def _checkpoint(self, rng: random.Random) -> str:
        name = rng.choice(("w.safetensors", "w.pth", "w.pkl"))
        path = self._folder / f"damaged{Path(name).suffix}"
        match rng.randrange(6):
            case 0:
                path.write_bytes(pickle.dumps({"model": _Runs(self._trace)}, protocol=rng.choice((0, 2, 4))))
            case 1:
                torch.save({"model": _Runs(self._trace)}, path)
            case 2:
                path.write_bytes(_zip_bomb("archive/data.pkl"))
            case 3:
                path.write_bytes(struct.pack("<Q", rng.choice((2**63, 2**31, 8, 0))) + rng.randbytes(50))
            case _:
                path.write_bytes(mutated((self._folder / name).read_bytes(), rng))
        return _refused_or(lambda: read_state_dict(path))

    def _array(self, rng: random.Random) -> str:
        name = rng.choice(("a.npz", "a.npy"))
        path = self._folder / f"damaged{Path(name).suffix}"
        match rng.randrange(4):
            case 0:
                path.write_bytes(_zip_bomb("a.npy"))
            case 1:
                shape = rng.choice(("(1099511627776,)", "(-1,)", "(2, 2", "(1,) * 10**9", "()"))
                kind = rng.choice(("<f4", "|O", "<f9", "<V8"))
                header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}"
                path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(8))
            case _:
                path.write_bytes(mutated((self._folder / name).read_bytes(), rng))
        return _refused_or(lambda: read_array(path, "a"))

    def _picture(self, rng: random.Random) -> str:
        name = rng.choice(("i.png", "i.jpg", "m.png"))
        path = self._folder / f"damaged{Path(name).suffix}"
        if rng.random() < 0.3:
            sizes = (0, 1, 30_000, 65_535, 2**31 - 1, 2**32 - 1)
            path.write_bytes(png_claiming(rng.choice(sizes), rng.choice(sizes), rng))
        else:
            path.write_bytes(mutated((self._folder / name).read_bytes(), rng))
        reader: Any = read_stored_values if name == "m.png" else read_image
        return _refused_or(lambda: reader(path))

    def _text(self, rng: random.Random) -> str:
        reader: Any = rng.choice(list(self._yaml))
        path = self._folder / "damaged.yaml"
        if rng.random() < 0.4:
            path.write_text(rng.choice(YAML_BOMBS))
        else:
            path.write_bytes(mutated(self._yaml[reader], rng))
        return _refused_or(lambda: reader(path))

    def _special(self, rng: random.Random) -> str:
        """What is no file that ends."""
        path = self._folder / f"special{rng.choice(('.yaml', '.npz', '.npy', '.png', '.pth', '.safetensors', '.json'))}"
        path.unlink(missing_ok=True)
        match rng.randrange(5):
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to("/dev/zero")
            case 2:
                path.symlink_to(path.name)
            case 3:
                path.touch()
            case 4:
                path.symlink_to("/proc/self/mem")
        bundle = self._folder / "special_bundle"
        bundle.mkdir(exist_ok=True)
        for name in ("manifest.json", "tiny.onnx"):
            (bundle / name).unlink(missing_ok=True)
            (bundle / name).write_bytes((self._bundle / name).read_bytes())
        whole = rng.choice(("manifest.json", "tiny.onnx"))
        (bundle / whole).unlink()
        (bundle / whole).symlink_to(path)
        readers: tuple[Callable[[], object], ...] = (
            lambda: read_parameters(path),
            lambda: load_config(path),
            lambda: read_array(path, "a"),
            lambda: read_image(path),
            lambda: read_stored_values(path),
            lambda: read_state_dict(path),
            lambda: load_bundle(bundle),
            lambda: read_label_file(path),
        )
        try:
            return _refused_or(rng.choice(readers))
        finally:
            path.unlink()


def _zip_bomb(name: str) -> bytes:
    """Some kilobytes that say they are 4 GB, and are 30 MB of zeros."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(30_000_000))
    data = bytearray(packed.getvalue())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    return bytes(data)


def require_short(error: M2aError) -> None:
    """A message is for people: no megabytes of what was refused."""
    assert len(str(error)) < 5000, f"a message of {len(str(error))} characters"


def _refused_or(read: Callable[[], object]) -> str:
    try:
        read()
    except M2aError as error:
        require_short(error)
        return "refused"
    return "read"
