"""Hard links: the same bytes under two paths, whole folders, in place of what was there."""

import os

from beadsmith.io.links import link_tree


def test_a_folder_is_linked_with_all_its_files_in_place_of_an_old_one(tmp_path):
    (tmp_path / "a" / "inner").mkdir(parents=True)
    (tmp_path / "a" / "inner" / "file").write_text("new")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("old")
    link_tree(tmp_path / "a", tmp_path / "b")
    assert [path.relative_to(tmp_path / "b").as_posix() for path in sorted((tmp_path / "b").rglob("*"))] == [
        "inner",
        "inner/file",
    ]
    assert (tmp_path / "b" / "inner" / "file").samefile(tmp_path / "a" / "inner" / "file")


def test_without_hard_links_the_file_is_copied(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("content")
    link_tree(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
    assert not (tmp_path / "b").samefile(tmp_path / "a")
