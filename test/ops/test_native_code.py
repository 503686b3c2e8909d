"""Libraries are loaded when they were built here and only their owner can write them."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from m2a_core.errors import ModelError
from m2a_core.ops import native_code
from m2a_core.ops.compile import compile_once
from m2a_core.ops.kernel_library import KernelLibrary
from m2a_core.ops.native_code import is_as_built, keep_hash, make_own_folder, put_in_place, require_own
from m2a_core.trt import plugin_build
from m2a_core.trt.headers import download_headers


@pytest.fixture
def library(tmp_path) -> Path:
    path = tmp_path / "cache" / "lib.so"
    make_own_folder(path.parent)
    path.write_bytes(b"\x7fELF code")
    keep_hash(path)
    return path


def of_another_user(path: Path, monkeypatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)


def test_what_was_built_here_is_taken(library):
    assert is_as_built(library)
    assert require_own(library) == library.resolve()
    assert library.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777, 0o722])
def test_folder_that_others_can_write_is_refused(library, mode):
    library.parent.chmod(mode)
    with pytest.raises(ModelError, match=r"cache: others than its owner can write it \(mode 1?7..\).*chmod go-w"):
        is_as_built(library)


def test_folder_above_that_others_can_write_is_refused_unless_they_cannot_rename_in_it(library):
    above = library.parents[1]
    above.chmod(0o777)
    with pytest.raises(ModelError, match="others than its owner can write it"):
        require_own(library)
    above.chmod(0o1777)
    require_own(library)


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_file_that_others_can_write_is_refused(library, mode):
    library.chmod(mode)
    with pytest.raises(ModelError, match=r"lib\.so: others than its owner can write it"):
        require_own(library)


@pytest.mark.parametrize("what", [lambda path: path, lambda path: path.parent], ids=["file", "folder"])
def test_what_belongs_to_another_user_is_refused(library, what, monkeypatch):
    of_another_user(what(library), monkeypatch)
    with pytest.raises(ModelError, match="belongs to user"):
        is_as_built(library)


def test_link_counts_as_what_it_leads_to(library, tmp_path):
    elsewhere = tmp_path / "shared"
    elsewhere.mkdir()
    shutil.move(library, elsewhere / "other.so")
    elsewhere.chmod(0o777)
    library.symlink_to(elsewhere / "other.so")
    with pytest.raises(ModelError, match="shared: others than its owner"):
        require_own(library)


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: None], ids=["pipe", "folder", "nothing"])
def test_what_is_no_file_is_refused(tmp_path, put):
    put(tmp_path / "lib.so")
    with pytest.raises(ModelError, match=r"lib\.so: (not a regular file|cannot be read)"):
        KernelLibrary(tmp_path / "lib.so")


def test_altered_library_or_one_without_a_hash_is_not_as_built(library):
    library.write_bytes(b"\x7fELF evil")
    assert not is_as_built(library)
    keep_hash(library)
    library.with_name("lib.so.sha256").unlink()
    assert not is_as_built(library)


@pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
def test_altered_library_in_the_cache_is_compiled_anew(tmp_path):
    source = tmp_path / "source" / "one.cpp"
    source.parent.mkdir()
    source.write_text('extern "C" int one() { return 1; }')
    command = [shutil.which("g++") or "", "-shared", "-fPIC"]
    result = compile_once(command, source, "one", tmp_path / "cache")
    built = result.read_bytes()
    result.write_bytes(b"altered")
    assert compile_once(command, source, "one", tmp_path / "cache") == result
    assert result.read_bytes() == built


@pytest.fixture
def group_may_write():
    """The umask of a Debian or Ubuntu user whose group is his own."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("group_may_write")
def test_what_is_built_is_taken_again_where_new_files_are_writable_by_the_group(tmp_path):
    built, kept = tmp_path / "built.so", tmp_path / "cache" / "lib.so"
    make_own_folder(kept.parent)
    built.write_bytes(b"\x7fELF code")
    put_in_place(built, kept)
    assert is_as_built(kept)
    assert not built.exists()


@pytest.mark.usefixtures("group_may_write")
def test_library_is_its_owner_s_alone_before_it_has_its_name(tmp_path, monkeypatch):
    built, kept = tmp_path / "built.so", tmp_path / "cache" / "lib.so"
    make_own_folder(kept.parent)
    built.write_bytes(b"\x7fELF code")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(native_code, "keep_hash", killed)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(built, kept)
    # Another process looks: it may build again, but must not be told that somebody else can write here.
    assert not is_as_built(kept)


@pytest.mark.usefixtures("group_may_write")
def test_downloaded_headers_do_not_open_the_folder_of_libraries_to_others(tmp_path, monkeypatch):
    def pip(command, **_: object) -> subprocess.CompletedProcess[str]:
        with zipfile.ZipFile(Path(command[command.index("-d") + 1], "kernel_lens.whl"), "w") as wheel:
            wheel.writestr("kernel_lens/include/tensorrt/NvInferRuntime.h", "// a header")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    (header,) = download_headers(tmp_path / "cache" / "tensorrt-headers")
    assert header.read_text() == "// a header"
    library = tmp_path / "cache" / "plugin-1" / "lib.so"
    make_own_folder(library.parent)
    library.write_bytes(b"\x7fELF code")
    keep_hash(library)
    assert require_own(library) == library


def test_plugin_that_finds_no_space_in_the_cache_is_an_error_with_its_folder(tmp_path, monkeypatch):
    headers, tools = tmp_path / "headers", tmp_path / "bin"
    for folder in (headers, tools):
        folder.mkdir()
    (headers / "NvInferRuntime.h").touch()
    (tools / "cmake").write_text(f'#!/bin/sh\n[ "$1" != --build ] || echo code > "$2/{plugin_build.LIBRARY}"\n')
    (tools / "cmake").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(plugin_build, "find_nvcc", lambda: Path("/bin/true"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plugin_build, "put_in_place", full)
    with pytest.raises(ModelError, match=r"cache': cannot be written \(No space left on device\)"):
        plugin_build.ensure_plugin(tmp_path / "cache", headers)
    assert not list((tmp_path / "cache").rglob("*.so"))
