r"""TensorRT's headers for a machine that has no TensorRT: python -m m2a_core.trt.headers FOLDER.

JetPack and NVIDIA's containers bring their own headers, which are found first. Elsewhere one wheel on PyPI carries
them, kernel-lens 2.0.1 (0.2 MB, MIT; the headers in it are NVIDIA's, of 10.14). It is downloaded without what it
depends on, its hash is compared, and only the headers are unpacked. Nothing of it is part of m2a.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from m2a_core.errors import M2aError, ModelError
from m2a_core.ops.native_code import make_own_folder

REQUIREMENT = "kernel-lens==2.0.1 --hash=sha256:07cc714e8b5e7f34b672f7c7fad93febe7c747be5837ba276b1527370134ffe0\n"
_INSIDE = "kernel_lens/include/tensorrt/"


def download_headers(folder: Path) -> list[Path]:
    """Fetch and unpack the headers.

    Args:
        folder: made if missing; files in it of the same names are replaced.

    Returns:
        The headers.

    Raises:
        ModelError: pip could not download the wheel, or it is another one than expected.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(REQUIREMENT)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "-q", "-d", scratch]
        done = subprocess.run([*command, "-r", str(wanted)], capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise ModelError(f"TensorRT's headers could not be downloaded: {done.stderr.strip()[-1000:]}")
        # Libraries are compiled beside it, and are not loaded from where others can write.
        make_own_folder(folder)
        written = []
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in wheel.namelist():
                if name.startswith(_INSIDE) and name.endswith(".h"):
                    target = folder / Path(name).name
                    target.write_bytes(wheel.read(name))
                    written.append(target)
    return written


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the headers go")
    folder = parser.parse_args().folder
    try:
        headers = download_headers(folder)
    except M2aError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(headers)} headers in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
