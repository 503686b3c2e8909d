"""Sign a model bundle, verify its signature, or seal a manifest that was changed by hand.

  keygen FILE        makes a key pair: FILE, which only you may read, and FILE.pub, which vehicles are given
  sign DIR           hashes every file of the bundle and signs the list; writes DIR/signature.json
  verify DIR         checks manifest, graph, signature and every file that it lists
  seal DIR           gives a manifest that was changed by hand, or is of an older m2a, the digest of its content

Commands that write bundles write the digest themselves, and remove a signature that no longer holds. A vehicle asks for
signatures with the parameters require_signature and trusted_keys, `m2a predict` with --require-signature and
--trusted-key.

examples:
  m2a bundle keygen ~/keys/m2a.pem
  m2a bundle sign engines/my-edge --key ~/keys/m2a.pem
  m2a bundle verify engines/my-edge --trusted-key ~/keys/m2a.pem.pub
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from m2a_core.cli.actions import add_action

_KEYGEN = """Make an Ed25519 key pair: FILE, which only you can read, and FILE.pub for the vehicles.

For example:
  m2a bundle keygen ~/keys/m2a.pem
"""
_SIGN = """Hash every file of a bundle and sign the list: DIR/signature.json. Any later change voids it: sign last.

For example:
  m2a bundle sign engines/my-edge --key ~/keys/m2a.pem
"""
_VERIFY = """Check manifest, graph, signature and every file that the signature lists.

For example:
  m2a bundle verify engines/my-edge --trusted-key ~/keys/m2a.pem.pub
"""
_SEAL = """Give a manifest that was changed by hand, or is of an older m2a, the digest of its content.

For example:
  m2a bundle seal engines/my-edge
"""

HELP = "sign a model bundle, verify its signature and digests"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    keygen = add_action(actions, "keygen", "make a key pair", _KEYGEN)
    keygen.add_argument("file", type=Path, metavar="FILE", help="for the private key; the public one is FILE.pub")
    sign = add_action(actions, "sign", "sign a bundle", _SIGN)
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key of `m2a bundle keygen`")
    verify = add_action(actions, "verify", "check a bundle", _VERIFY)
    verify.add_argument(
        "--trusted-key",
        type=Path,
        action="append",
        required=True,
        metavar="PEM",
        help="public key of a signer",
    )
    seal = add_action(actions, "seal", "store the digest of a manifest's present content", _SEAL)
    for action in (sign, verify, seal):
        action.add_argument("bundle", type=Path, metavar="DIR", help="folder of the bundle")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    from m2a_core.bundle import signing
    from m2a_core.bundle.loading import load_bundle

    if args.action == "keygen":
        public = signing.make_keys(args.file)
        print(f"private key {args.file} (keep it), public key {public} (give it to vehicles)")
    elif args.action == "sign":
        load_bundle(args.bundle)
        files = signing.sign(args.bundle, args.key)
        print(f"signed {len(files)} files: {', '.join(files)}")
    elif args.action == "verify":
        bundle = load_bundle(args.bundle, signing.Trust(True, tuple(args.trusted_key)))
        assert bundle.signed is not None
        signing.require_files(bundle.directory, bundle.signed)
        print(f"{bundle.manifest.name}: signed by a trusted key, {len(bundle.signed)} files unchanged since signing")
    else:
        _seal(args.bundle)
    return 0


def _seal(directory: Path) -> None:
    from m2a_core.bundle.digest import sealed
    from m2a_core.bundle.manifest import FILE_NAME, MAX_BYTES, Manifest
    from m2a_core.bundle.signing import remove_signature
    from m2a_core.errors import ModelError
    from m2a_core.files import read_regular, write_text

    path = directory / FILE_NAME
    try:
        data = json.loads(read_regular(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); name the folder of a bundle") from error
    manifest = Manifest.from_json(json.dumps(sealed(data) if isinstance(data, dict) else data), str(path))
    if remove_signature(directory):
        print("the bundle's signature no longer holds and was removed; sign it again with `m2a bundle sign`")
    write_text(path, manifest.to_json())
    print(f"stored the digest of {path}")
