"""Little memory and full disks: what a process is not given, it says, by name, and leaves nothing half."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from test.ros.harness import ROOT, environment


class NotPossible(Exception):
    """This machine or user cannot do what the case needs."""


def little_memory(folder: Path, domain: int, model: Path, rng: random.Random) -> str:
    """A start with too little address space says so; it does not die by a signal."""
    said = set()
    for limit in (mebibytes << 20 for mebibytes in rng.sample((300, 450, 600, 700, 800, 1000, 1300, 1500), 4)):
        log = folder / "limited.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "m2a_ros.node.main", "--ros-args", "-p", f"model:={model}", "-p", "threads:=1"],
                cwd=ROOT,
                env=environment(domain),
                stdout=stream,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
            )
        said.add(_of_limited(process, log, limit >> 20))
    return " and ".join(sorted(said))


def _of_limited(process: subprocess.Popen[bytes], log: Path, limit: int) -> str:
    deadline = time.monotonic() + 90
    while process.poll() is None and "active: " not in log.read_text(errors="replace"):
        assert time.monotonic() < deadline, f"{limit} MiB: hangs: {log.read_text(errors='replace')[-600:]}"
        time.sleep(0.1)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        assert code == 0, f"{limit} MiB: runs, but ends with {code}"
        return "runs"
    code, text = process.wait(), log.read_text(errors="replace")
    assert code >= 0, f"{limit} MiB: ended by signal {-code}: {text[-600:]}"
    assert re.search("memory", text, re.IGNORECASE), f"{limit} MiB: code {code}, no word of memory: {text[-600:]}"
    return "refused"


def files_of_limited_size(folder: Path, domain: int, model: Path, rng: random.Random) -> str:
    """Writing stops at a size; the command says which file, and leaves no half of one."""
    limit = rng.choice((0, 100, 4096, 20_000))
    run = _predict(folder / "out", domain, model, limit)
    _require_refusal(run, folder / "out", limit > 4096)
    return "refused"


def full_disk(folder: Path, domain: int, model: Path, rng: random.Random) -> str:
    """The same on a disk that is full, or nearly so."""
    with small_disk(folder / "disk") as disk:
        fill(disk)
        os.truncate(disk / "filler", (32 << 20) - rng.choice((0, 4096, 65_536)))
        run = _predict(disk / "out", domain, model)
        _require_refusal(run, disk / "out", may_have_some=True)
        assert run.stderr.count("No space left") + run.stderr.count("space") > 0, run.stderr[-500:]
    return "refused"


def read_only_disk(folder: Path, domain: int, model: Path, rng: random.Random) -> str:
    """The same on a disk that may not be written to, and the node with its logs there goes on."""
    with small_disk(folder / "disk") as disk:
        _mount("-o", "remount,ro", str(disk))
        run = _predict(disk / "out", domain, model)
        _require_refusal(run, disk / "out", may_have_some=False)
        log = folder / "node.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "m2a_ros.node.main", "--ros-args", "-p", f"model:={model}", "-p", "threads:=1"],
                cwd=ROOT,
                env={**environment(domain), "ROS_LOG_DIR": str(disk), "HOME": str(disk)},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 60
        while process.poll() is None and "active: " not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        code = process.poll()
        if code is None:
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
            assert code == 0, f"code {code}: {log.read_text()[-600:]}"
            return "refused, and the node runs"
        assert code == 2, f"code {code}: {log.read_text()[-600:]}"
        assert "Traceback" not in log.read_text(), log.read_text()[-1500:]
    return "refused by both"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 32 MiB, or `NotPossible`."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass


def _mount(*arguments: str) -> None:
    try:
        run = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NotPossible("there is no mount") from error
    if run.returncode:
        raise NotPossible(run.stderr.strip().splitlines()[-1])


def _predict(out: Path, domain: int, model: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    frame = str(sorted((ROOT / "config/demo/frames").iterdir())[0])
    return subprocess.run(
        [sys.executable, "-m", "m2a_ros.main", "predict", frame, "--model", str(model), "--out", str(out)],
        cwd=ROOT,
        env=environment(domain),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=(lambda: _limit_files(limit)) if limit is not None else None,
    )


def _limit_files(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _require_refusal(run: subprocess.CompletedProcess[str], out: Path, may_have_some: bool) -> None:
    assert run.returncode == 2, f"code {run.returncode}: {run.stderr[-500:]}"
    assert "Traceback" not in run.stderr, run.stderr[-800:]
    assert os.fspath(out) in run.stderr, f"names no file of {out}: {run.stderr[-500:]}"
    assert may_have_some or not list(out.glob("*.npz")), "half a file"
