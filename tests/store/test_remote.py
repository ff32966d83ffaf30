"""Addresses of results in S3 storage, and names of pushed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.store.paths import pushed_file
from zobench.store.pushing import OF_RUNS, OF_STORE
from zobench.store.remote import Address, address


def test_an_address_has_a_bucket_and_a_prefix() -> None:
    assert address("s3://my-bucket/a/b 1/") == Address("my-bucket", "a/b 1")
    assert str(Address("my-bucket", "a")) == "s3://my-bucket/a"


@pytest.mark.parametrize("name", ["reports/s3", "C:/x", "s3", "/a:b/c"])
def test_a_folder_is_no_address(name: str) -> None:
    assert address(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3:/bucket/x",
        "s3:///x",
        "s3://Bucket/x",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "s3://bucket/.hidden",
        "s3://key:secret@bucket/x",
        "s3://bucket/a?b=c",
        "gs://bucket/x",
        "s3://bucket/a\x1b",
    ],
)
def test_other_addresses_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not an address of results"):
        address(name)


@pytest.mark.parametrize(
    "name",
    [
        "plan.json",
        "compact/manifest.json",
        "compact/manifest-copy.json",
        "compact/runs-000001.parquet",
        f"artifacts/{'0' * 64}.safetensors",
        "r1/metrics.parquet",
        "r1/status.json",
    ],
)
def test_files_of_results_have_their_place(name: str) -> None:
    assert pushed_file(Path("runs"), name, OF_RUNS, OF_STORE) == Path("runs") / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "../plan.json",
        "/plan.json",
        "./plan.json",
        "r1/../plan.json",
        "r1/other.parquet",
        "r1/steps.jsonl",
        "r1/a/status.json",
        "compact/status.json",
        "damaged/status.json",
        "compact/../runs-000001.parquet",
        "artifacts/../../x.safetensors",
        "artifacts/x.parquet",
        "r1\\..\\status.json",
    ],
)
def test_no_other_name_becomes_a_path(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"not used as a path|no table|not a table's file|folder of the store"
    ):
        pushed_file(Path("runs"), name, OF_RUNS, OF_STORE)
