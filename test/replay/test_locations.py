"""Bags by pattern and by URL: the same results as from paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from m2a_core.errors import ConfigError, DataError
from m2a_core.extras import install_command
from m2a_ros.bag.locations import locate
from test.replay.bags import drive


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An S3 server of this machine with an empty bucket."""
    server_module = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs")
    pytest.importorskip("upath")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(
            Bucket="drives", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield "drives"
    server.stop()


def upload(bucket: str, bag: Path) -> None:
    """A bag as ``folders/NAME/`` and, its storage file alone, as ``files/NAME.mcap``."""
    import boto3

    client = boto3.client("s3")
    for file in bag.iterdir():
        client.upload_file(str(file), bucket, f"folders/{bag.name}/{file.name}")
    client.upload_file(str(bag / f"{bag.name}.mcap"), bucket, f"files/{bag.name}.mcap")


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "workers"), [("files/*.mcap", "1"), ("folders/*", "2")])
def test_bags_in_s3_give_what_the_same_bags_on_disk_give(replay, bucket, tmp_path, pattern, workers):
    bags = [drive(tmp_path / f"drive_{i}", 4 + i) for i in range(2)]
    for bag in bags:
        upload(bucket, bag)
    on_disk = replay(*bags, out="disk")
    in_store = replay(f"s3://{bucket}/{pattern}", "--workers", workers, out="store")
    assert in_store.code == 0
    assert len(in_store.frames) == 9
    assert in_store.hashes == on_disk.hashes
    assert in_store.summary["hash"] == on_disk.summary["hash"]
    assert [bag["sha256"] for bag in in_store.summary["bags"]] == [None, None]
    written = (in_store.out / "drive_0" / "result.json").stat().st_mtime_ns
    assert replay(f"s3://{bucket}/{pattern}", "--workers", workers, out="store").code == 0
    assert (in_store.out / "drive_0" / "result.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_bag_in_s3_that_is_cut_short_is_named_and_the_others_are_evaluated(replay, bucket, tmp_path, capsys):
    import boto3

    bag = drive(tmp_path / "whole", 3)
    data = (bag / "whole.mcap").read_bytes()
    for name, content in (("whole", data), ("half", data[: len(data) // 2])):
        boto3.client("s3").put_object(Bucket=bucket, Key=f"mixed/{name}.mcap", Body=content)
    done = replay(f"s3://{bucket}/mixed/*.mcap")
    assert (done.code, len(done.frames)) == (1, 3)
    assert [failed["path"] for failed in done.summary["failed_bags"]] == [f"s3://{bucket}/mixed/half.mcap"]
    assert "half.mcap" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("s3://drives/none/*.mcap", "fits the pattern"),
        ("s3://drives/none.mcap", "no such file"),
        ("s3://missing/a.mcap", "no such file"),
        ("zz://drives/a.mcap", "no URL of a store"),
    ],
)
def test_what_is_not_in_a_store_is_a_named_error(replay, bucket, capsys, name, word):
    assert replay(name).code == 2
    error = capsys.readouterr().err
    assert name in error
    assert word in error


def test_store_that_does_not_answer_is_a_named_error(replay, monkeypatch, capsys):
    pytest.importorskip("s3fs")
    for variable, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(variable, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    assert replay("s3://drives/a.mcap").code == 2
    assert "s3://drives/a.mcap: the store cannot be read" in capsys.readouterr().err
    s3fs.S3FileSystem.clear_instance_cache()


def test_pattern_of_paths_is_expanded_in_order(tmp_path, monkeypatch):
    for name in ("b.mcap", "a.mcap", "c.txt"):
        (tmp_path / name).touch()
    assert locate([f"{tmp_path}/*.mcap"]) == (tmp_path / "a.mcap", tmp_path / "b.mcap")
    monkeypatch.chdir(tmp_path)
    assert locate(["?.mcap", "c.txt"]) == (Path("a.mcap"), Path("b.mcap"), Path("c.txt"))
    with pytest.raises(DataError, match=r"\*\.db3: nothing there"):
        locate(["*.db3"])


def test_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    odd = tmp_path / "drive[1].mcap"
    odd.touch()
    assert locate([str(odd)]) == (odd,)


def test_store_without_its_client_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "upath", None)
    with pytest.raises(ConfigError, match=re.escape(install_command("cloud"))):
        locate(["s3://drives/a.mcap"])
