"""Ed25519 signatures of model bundles (RFC 8032): who made what a vehicle loads.

A signature lies in ``signature.json`` and covers the name and SHA-256 of every file that the bundle had when it was
signed. Keys are PEM files as OpenSSL reads and writes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2a_core.bundle.graph_check import MAX_GRAPH_BYTES
from m2a_core.bundle.manifest import FILE_NAME as MANIFEST
from m2a_core.errors import ConfigError, ModelError, quoted
from m2a_core.extras import install_command
from m2a_core.files import read_regular, write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FILE_NAME = "signature.json"
FORMAT_VERSION = 1
_CONTEXT = b"m2a bundle signature 1\n"
"""Put before what is signed: a signature made for another purpose does not fit."""
_MAX_SIGNATURE = 1 << 20
_MAX_KEY = 1 << 16


@dataclass(frozen=True)
class Trust:
    """Whose bundles are loaded.

    Attributes:
        required: refuse bundles without a signature by one of the keys.
        keys: PEM files of public keys; with none, signatures are not looked at.
    """

    required: bool = False
    keys: tuple[Path, ...] = ()

    def signed_files(self, directory: Path) -> dict[str, str] | None:
        """SHA-256 by name of the files that a trusted key signed; None where no signature is asked for.

        Raises:
            ConfigError: a signature is required but no key is trusted, or a key cannot be read.
            ModelError: the bundle has no signature where one is required, or one that does not hold.
        """
        if self.required and not self.keys:
            raise ConfigError("a signature is required but no key is trusted; name public keys in `trusted_keys`")
        if not self.keys or not (self.required or (directory / FILE_NAME).exists()):
            return None
        return verify(directory, self.keys)


ANYBODY = Trust()


def make_keys(private: Path) -> Path:
    """Write a new key pair; a missing folder is made for its owner alone.

    Args:
        private: file of the private key, readable for its owner alone; the public one gets the suffix ``.pub``.

    Returns:
        The public key's file.

    Raises:
        ConfigError: one of the files exists already, or cannot be written; none is left then.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private.parent.mkdir(0o700, parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    public = private.with_name(private.name + ".pub")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    open_text = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    made: list[Path] = []
    try:
        for path, content, mode in ((private, secret, 0o600), (public, open_text, 0o644)):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                made.append(path)
                file.write(content)
    except OSError as error:
        for half in made:
            half.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise ConfigError(f"{path}: already exists; a lost key cannot be restored, so choose another") from error
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
    return public


def sign(directory: Path, private: Path) -> dict[str, str]:
    """Sign the files of a bundle; an older signature is replaced.

    Returns:
        The signed SHA-256s by file name.

    Raises:
        ConfigError: the key cannot be read.
        ModelError: a file cannot be read, or the folder is not a bundle.
    """
    key = _private_key(private)
    if not (directory / MANIFEST).is_file():
        raise ModelError(f"{directory}: no bundle, {MANIFEST} is missing; name the folder that `m2a export` wrote")
    files = {
        path.name: _hash(path)
        for path in sorted(directory.iterdir())
        if path.name != FILE_NAME and not path.name.startswith(".") and path.is_file()
    }
    signature = {
        "format_version": FORMAT_VERSION,
        "files": files,
        "key": fingerprint(key.public_key()),
        "signature": base64.b64encode(key.sign(_signed_bytes(files))).decode(),
    }
    write_json(directory / FILE_NAME, signature)
    return files


def verify(directory: Path, trusted: Sequence[Path]) -> dict[str, str]:
    """Check a bundle's signature, but not yet the files that it lists; see `require_files`.

    Args:
        directory: the bundle.
        trusted: PEM files of public keys, any of which may have signed.

    Returns:
        SHA-256 by name of the signed files.

    Raises:
        ConfigError: a key cannot be read.
        ModelError: there is no signature, it cannot be read, or it is not by a trusted key.
    """
    try:
        from cryptography.exceptions import InvalidSignature
    except ModuleNotFoundError as error:
        needed = install_command("signing")
        raise ConfigError(f"signatures need the Python package 'cryptography': {needed}") from error

    path = directory / FILE_NAME
    keys = [_public_key(key) for key in trusted]
    files, signature = _read(path)
    for key in keys:
        try:
            key.verify(signature, _signed_bytes(files))
        except InvalidSignature:
            continue
        return files
    names = ", ".join(str(name) for name in trusted)
    raise ModelError(f"{path}: not signed by a trusted key ({names}); sign it with `m2a bundle sign`, or trust its key")


def require_files(directory: Path, files: dict[str, str]) -> None:
    """Check the files of a bundle against the hashes that were signed.

    Raises:
        ModelError: one is missing, cannot be read, or is another than was signed.
    """
    for name in files:
        require_signed(directory / name, _hash(directory / name), files)


def require_signed(path: Path, digest: str, files: dict[str, str]) -> None:
    """Check one file's hash.

    Raises:
        ModelError: the file is not among the signed ones, or is another than was signed.
    """
    if files.get(path.name) != digest:
        what = "is not the file that was signed" if path.name in files else "is not among the signed files"
        raise ModelError(f"{path}: {what}; restore it, or sign the bundle again with `m2a bundle sign`")


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of a public key's 32 bytes, the first 16 hexadecimal digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def remove_signature(directory: Path) -> bool:
    """Delete a signature that a changed bundle makes void; whether there was one."""
    path = directory / FILE_NAME
    was_signed = path.exists()
    path.unlink(missing_ok=True)
    return was_signed


def _signed_bytes(files: dict[str, str]) -> bytes:
    return _CONTEXT + json.dumps(files, sort_keys=True, separators=(",", ":")).encode()


def _read(path: Path) -> tuple[dict[str, str], bytes]:
    try:
        data: Any = json.loads(read_regular(path, _MAX_SIGNATURE))
        files = data["files"]
        if data["format_version"] != FORMAT_VERSION or not all(_is_entry(*entry) for entry in files.items()):
            raise ValueError(f"expected format_version {FORMAT_VERSION} and names with SHA-256s")
        return files, base64.b64decode(data["signature"], validate=True)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}), and a signature is required; sign it with `m2a bundle sign`"
        ) from error
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ModelError(f"{path}: no signature of a bundle ({quoted(str(error))}); sign it again") from error


def _is_entry(name: str, digest: object) -> bool:
    return name == Path(name).name and "\0" not in name and isinstance(digest, str) and len(digest) == 64


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(read_regular(path, MAX_GRAPH_BYTES)).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); restore it, or sign the bundle again") from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_regular(path, _MAX_KEY), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path}: not an unencrypted private key in PEM; make one with `m2a bundle keygen`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: wrong kind of key, expected Ed25519; make one with `m2a bundle keygen`")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_regular(path, _MAX_KEY))
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: not a public key in PEM; `m2a bundle keygen` writes one (.pub)") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: wrong kind of key, expected Ed25519; `m2a bundle keygen` writes one (.pub)")
    return key
