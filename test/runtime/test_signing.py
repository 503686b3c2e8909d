"""Digests and signatures of bundles: what is changed is refused, by damage, by hand and by others."""

from __future__ import annotations

import json
import logging
import random
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from m2a_core.bundle import signing
from m2a_core.bundle.digest import sealed
from m2a_core.bundle.loading import load_bundle
from m2a_core.bundle.manifest import FILE_NAME
from m2a_core.bundle.signing import Trust
from m2a_core.cli.main import main
from m2a_core.errors import ConfigError, ModelError
from test.tiny_bundle import write_tiny_bundle


@pytest.fixture
def directory(tmp_path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def key(tmp_path) -> Path:
    path = tmp_path / "key.pem"
    signing.make_keys(path)
    return path


@pytest.fixture
def trust(key) -> Trust:
    return Trust(True, (key.with_name("key.pem.pub"),))


def content_of(directory: Path) -> dict:
    return json.loads((directory / FILE_NAME).read_text())


def reseal(directory: Path, data: dict) -> None:
    (directory / FILE_NAME).write_text(json.dumps(sealed(data)))


def test_no_flipped_bit_of_a_manifest_changes_what_is_loaded(directory):
    path = directory / FILE_NAME
    whole, manifest = path.read_bytes(), load_bundle(directory).manifest
    chance = random.Random(23)
    refused = 0
    for bit in chance.sample(range(8 * len(whole)), 400):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert load_bundle(directory).manifest == manifest  # a space that became another kind of space
        except ModelError:
            refused += 1
    assert refused > 300


@pytest.mark.parametrize("change", ["threshold", "swapped names", "color", "figure"])
def test_a_value_changed_by_hand_is_refused(directory, change):
    data = content_of(directory)
    classes = data["labels"]["classes"]
    match change:
        case "threshold":
            data["thresholds"]["refined"] = 0.51
        case "swapped names":
            classes[0]["name"], classes[1]["name"] = classes[1]["name"], classes[0]["name"]
        case "color":
            classes[3]["color"] = [1, 2, 3]
        case "figure":
            data["metrics"]["auprc"] = 1.0
    (directory / FILE_NAME).write_text(json.dumps(data))
    with pytest.raises(ModelError, match=r"manifest\.json: the SHA-256 of its content .* `m2a bundle seal`"):
        load_bundle(directory)


def test_layout_and_order_of_keys_are_free(directory):
    data = content_of(directory)
    manifest = load_bundle(directory).manifest
    (directory / FILE_NAME).write_text(json.dumps(dict(reversed(data.items()))))
    assert load_bundle(directory).manifest == manifest


def test_a_bundle_without_a_digest_is_loaded_with_a_warning(directory, caplog):
    data = content_of(directory)
    del data["digest"]
    (directory / FILE_NAME).write_text(json.dumps(data))
    with caplog.at_level(logging.WARNING, "m2a.bundle"):
        load_bundle(directory)
    assert "has no digest" in caplog.text
    assert "m2a bundle seal" in caplog.text


def test_seal_accepts_what_was_changed_by_hand(directory, caplog):
    data = content_of(directory)
    data["thresholds"]["refined"] = 0.51
    (directory / FILE_NAME).write_text(json.dumps(data))
    assert main(["bundle", "seal", str(directory)]) == 0
    assert load_bundle(directory).manifest.thresholds.refined == 0.51
    assert not caplog.records


def test_seal_refuses_what_is_no_manifest(directory, capsys):
    data = content_of(directory)
    data["thresholds"]["overlap"] = 2
    (directory / FILE_NAME).write_text(json.dumps(data))
    assert main(["bundle", "seal", str(directory)]) == 2
    assert "threshold 'overlap'" in capsys.readouterr().err


def test_the_shipped_bundle_states_its_digest(caplog):
    load_bundle("m2a-edge")
    assert not caplog.records


def test_a_signed_bundle_is_loaded_and_verified(directory, key, trust, capsys):
    assert main(["bundle", "sign", str(directory), "--key", str(key)]) == 0
    assert load_bundle(directory, trust).signed is not None
    assert main(["bundle", "verify", str(directory), "--trusted-key", str(trust.keys[0])]) == 0
    assert "2 files unchanged since signing" in capsys.readouterr().out


def test_without_a_signature_only_those_that_ask_for_none_load(directory, trust):
    load_bundle(directory, Trust(False, trust.keys))
    with pytest.raises(ModelError, match=r"signature\.json: cannot be read .* a signature is required"):
        load_bundle(directory, trust)


def test_a_signature_by_a_stranger_is_refused_also_where_none_is_required(directory, tmp_path, trust):
    signing.make_keys(tmp_path / "stranger.pem")
    signing.sign(directory, tmp_path / "stranger.pem")
    for asked in (trust, Trust(False, trust.keys)):
        with pytest.raises(ModelError, match="not signed by a trusted key"):
            load_bundle(directory, asked)
    load_bundle(directory)


def test_a_forged_manifest_with_a_digest_of_its_own_is_refused(directory, key, trust):
    signing.sign(directory, key)
    data = content_of(directory)
    data["thresholds"]["refined"] = 0.99
    reseal(directory, data)
    load_bundle(directory)
    with pytest.raises(ModelError, match=r"manifest\.json: is not the file that was signed"):
        load_bundle(directory, trust)


def test_verify_finds_any_changed_or_missing_file(directory, key, trust):
    (directory / "card.md").write_text("what it can")
    files = signing.sign(directory, key)
    (directory / "card.md").write_text("what it cannot")
    with pytest.raises(ModelError, match=r"card\.md: is not the file that was signed"):
        signing.require_files(directory, files)
    (directory / "card.md").unlink()
    with pytest.raises(ModelError, match=r"card\.md: cannot be read"):
        signing.require_files(directory, files)


def test_no_flipped_bit_of_a_signature_holds(directory, key, trust):
    signing.sign(directory, key)
    path = directory / signing.FILE_NAME
    whole, files = path.read_bytes(), signing.verify(directory, trust.keys)
    chance = random.Random(23)
    for bit in chance.sample(range(8 * len(whole)), 400):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert signing.verify(directory, trust.keys) == files  # spaces, and the key's name that is only told
        except ModelError:
            continue


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"files": 1}', '{"format_version": 1, "files": {"../x": "0"}}', "[" * 100_000],
)
def test_what_is_no_signature_is_refused(directory, trust, text):
    (directory / signing.FILE_NAME).write_text(text)
    with pytest.raises(ModelError, match=r"signature\.json: no signature of a bundle"):
        load_bundle(directory, trust)


def test_a_signature_required_without_keys_is_a_mistake(directory):
    with pytest.raises(ConfigError, match="no key is trusted"):
        load_bundle(directory, Trust(True))


def test_keys_of_another_kind_are_named(directory, tmp_path, key):
    other = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "ec.pem").write_bytes(other.private_bytes(pem, pkcs8, plain))
    with pytest.raises(ConfigError, match=r"ec\.pem: wrong kind of key, expected Ed25519"):
        signing.sign(directory, tmp_path / "ec.pem")
    with pytest.raises(ConfigError, match=r"key\.pem: not a public key"):
        load_bundle(directory, Trust(True, (key,)))
    with pytest.raises(ConfigError, match=r"none\.pem: not a public key"):
        load_bundle(directory, Trust(True, (tmp_path / "none.pem",)))


def test_a_private_key_is_its_owners_alone_and_never_overwritten(key):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(ConfigError, match=r"key\.pem: already exists"):
        signing.make_keys(key)
    assert key.read_bytes() == before


def test_half_a_pair_of_keys_is_not_left(tmp_path):
    private, public = tmp_path / "a.pem", tmp_path / "a.pem.pub"
    public.write_text("of another key")
    with pytest.raises(ConfigError, match=r"a\.pem\.pub: already exists"):
        signing.make_keys(private)
    assert not private.exists()
    assert public.read_text() == "of another key"
    public.unlink()
    assert signing.make_keys(private) == public


def test_predict_asks_for_signatures(directory, trust, tmp_path, capsys):
    options = ["--require-signature", "--trusted-key", str(trust.keys[0])]
    out = str(tmp_path / "out")
    code = main(["predict", "config/demo/frames", "--model", str(directory), "--out", out, *options])
    assert code == 2
    assert "a signature is required" in capsys.readouterr().err
