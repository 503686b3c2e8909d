"""The benchmark of the GPU's first day: what breaks, is missing or is interrupted must not cost the rest."""

import json

import pytest

pytest.importorskip("accelerate", reason="needs m2a's extra [train]")

from benchmarks.gpu import clocks, record, run
from benchmarks.gpu.record import Record, Skipped
from benchmarks.gpu.tool_steps import METRICS, read_counters


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    """Neither git nor nvidia-smi nor a Jetson's files, as on a bare machine."""

    def missing(*_, **__):
        raise FileNotFoundError

    for module in (record, clocks):
        monkeypatch.setattr(module.subprocess, "run", missing)
    monkeypatch.setattr(clocks, "DEVFREQ", tmp_path / "devfreq")
    monkeypatch.setattr(record, "find_nvcc", lambda: None)


def saved(path):
    return json.loads(path.read_text())


def test_every_step_is_written_when_it_ends_and_a_broken_one_takes_none_along(tmp_path):
    out = tmp_path / "new" / "record.json"
    benchmark = Record(out, rehearsal=True, commit=None)
    assert saved(out)["steps"] == {}

    def breaks():
        yield {"name": "before", "ok": True}
        raise ZeroDivisionError("in the middle")

    def misses():
        raise Skipped("no such tool")

    assert benchmark.step("good", lambda: [{"ok": True}, {"figure": 1.0}])
    assert not benchmark.step("breaks", breaks)
    assert saved(out)["steps"]["breaks"]["rows"] == [{"name": "before", "ok": True}]
    assert not benchmark.step("wrong", lambda: [{"ok": True}, {"ok": False}])
    assert not benchmark.step("misses", misses)
    assert not saved(out)["finished"]
    benchmark.finish()
    found = saved(out)
    assert found["finished"]
    statuses = {name: step["status"] for name, step in found["steps"].items()}
    assert statuses == {"good": "passed", "breaks": "failed", "wrong": "failed", "misses": "skipped"}
    assert "ZeroDivisionError: in the middle" in found["steps"]["breaks"]["error"]
    assert found["steps"]["misses"]["reason"] == "no such tool"
    assert benchmark.failed == ["breaks", "wrong"]


def test_interrupted_step_is_written_before_the_program_ends(tmp_path):
    benchmark = Record(tmp_path / "record.json", rehearsal=True, commit=None)

    def interrupted():
        yield {"name": "first"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark.step("long", interrupted)
    assert saved(benchmark.out)["steps"]["long"]["error"] == "interrupted"


def test_commit_is_named_by_the_caller_where_there_is_no_git(tmp_path):
    assert Record(tmp_path / "a.json", True, "abc").data["environment"]["commit"] == "abc"
    assert "name it with --commit" in Record(tmp_path / "b.json", True, None).data["environment"]["commit"]


def test_clocks_come_from_the_files_of_a_jetson_where_nvidia_smi_has_none(tmp_path):
    assert clocks.clocks() == {}
    assert clocks.highest_clock() is None
    gpu = tmp_path / "devfreq" / "17000000.gpu"
    gpu.mkdir(parents=True)
    (gpu / "cur_freq").write_text("306000000\n")
    (gpu / "max_freq").write_text("1300500000\n")
    assert clocks.clocks() == {"cur_freq": 306e6, "max_freq": 1300.5e6}
    assert clocks.highest_clock() == 1300.5e6


def test_counters_of_ncu_are_read_with_their_units():
    names = ["ID", "Kernel Name", *METRICS[:2]]
    lines = [names, ["", "", "us", "inst"], ["0", "forward_kernel", "16.9", "17,000,000"]]
    text = "==PROF== Connected\n" + "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines)
    found = {"Kernel Name": "forward_kernel", f"{METRICS[0]} [us]": "16.9", f"{METRICS[1]} [inst]": "17,000,000"}
    assert read_counters(text) == found
    assert read_counters("==ERROR== no permission") == {}


def test_exit_status_tells_a_failed_step_from_none(tmp_path, monkeypatch):
    results = {"cases": [{"ok": True}], "lanes": [{"ok": False}]}
    monkeypatch.setattr(run, "build_host", lambda _: tmp_path / "none.so")
    monkeypatch.setattr(run, "KernelLibrary", lambda _: None)
    monkeypatch.setattr(run, "steps", lambda *_: {name: lambda name=name: results[name] for name in results})

    def status(*arguments):
        monkeypatch.setattr("sys.argv", ["run", "--rehearse", "--out", str(tmp_path / "r.json"), *arguments])
        return run.main()

    assert status("--only", "cases") == 0
    assert status() == 1
    monkeypatch.setattr(run, "build_host", lambda _: 1 / 0)
    assert status("--only", "cases") == 1
    assert list(saved(tmp_path / "r.json")["steps"]) == ["build"]


def test_record_that_cannot_be_written_and_a_machine_without_a_gpu_are_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["run", "--rehearse", "--out", str(tmp_path / "file" / "r.json")])
    assert run.main() == 2
    assert "the record cannot be written" in capsys.readouterr().err
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["run"])
    assert run.main() == 2
    assert "no GPU that PyTorch sees" in capsys.readouterr().err
