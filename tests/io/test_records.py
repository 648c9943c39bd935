"""Small files: atomic, and as readable as the user's other files."""

import os

import pytest

from beadsmith.io.records import read_json, replacing, write_json


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_written_file_has_the_permissions_the_user_asks_for(tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "weights") as temporary:
            temporary.write_bytes(b"x")
            temporary.chmod(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == expected


def test_json_that_cannot_be_written_whole_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
