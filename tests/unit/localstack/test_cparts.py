"""The C libraries are built by make, wherever the checkout and the cache lie, by any number at once."""

import subprocess

import pytest

from kserve_has.errors import StackError
from kserve_has.localstack import cparts


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose C part is built by a makefile that copies its source."""
    root = tmp_path / "checkout"
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "a.c").write_text("one")
    (root / "lib" / "Makefile").write_text("all:\n\tcp a.c $(OUT)/a.so\n\techo $(CC) > $(OUT)/cc\n")
    monkeypatch.setattr(cparts, "repository", lambda: root)
    return root


def test_c_libraries_are_built_again_when_a_source_changes(checkout, tmp_path):
    part = cparts.CPart("a part", "lib", ("lib",), ("a.so",))
    first = cparts.build(part, tmp_path)
    assert first == cparts.build(part, tmp_path)
    (checkout / "lib" / "a.c").write_text("two")
    second = cparts.build(part, tmp_path)
    assert ("one", "two") == ((first / "a.so").read_text(), (second / "a.so").read_text())


def test_a_c_library_that_make_did_not_make_is_named(checkout, tmp_path):
    part = cparts.CPart("a part", "lib", ("lib",), ("a.so", "b.so"))
    with pytest.raises(StackError, match=r"missing: \['b\.so'\]"):
        cparts.build(part, tmp_path)


def test_without_a_compiler_the_message_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "make").touch()
    (tmp_path / "make").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cparts.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StackError, match="install gcc or clang, or run: pip install ziglang"):
        cparts.find_compiler()


def test_of_two_builds_at_once_the_later_takes_the_files_of_the_first(
    checkout, tmp_path, monkeypatch
):
    part = cparts.CPart("a part", "lib", ("lib",), ("a.so",))
    run, first = subprocess.run, []

    def run_after_another(*args, **kwargs):
        monkeypatch.setattr(cparts.subprocess, "run", run)
        first.append((cparts.build(part, tmp_path) / "a.so").stat().st_ino)
        return run(*args, **kwargs)

    monkeypatch.setattr(cparts.subprocess, "run", run_after_another)
    final = cparts.build(part, tmp_path)
    assert [(final / "a.so").stat().st_ino] == first
    assert [final] == list((tmp_path / "parts").iterdir())


def test_what_was_left_incomplete_is_replaced(checkout, tmp_path):
    part = cparts.CPart("a part", "lib", ("lib",), ("a.so",))
    final = cparts.build(part, tmp_path)
    (final / "a.so").unlink()
    assert final == cparts.build(part, tmp_path)
    assert (final / "a.so").exists()


def test_a_build_failure_in_the_cache_folder_is_not_taken_for_anothers_success(
    checkout, tmp_path, monkeypatch
):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(cparts.Path, "rename", refuse)
    with pytest.raises(PermissionError):
        cparts.build(cparts.CPart("a part", "lib", ("lib",), ("a.so",)), tmp_path)


def test_a_space_in_any_path_does_not_matter_to_make(checkout, tmp_path, monkeypatch):
    (tmp_path / "t m p").mkdir()
    monkeypatch.setattr(cparts.tempfile, "tempdir", str(tmp_path / "t m p"))
    spaced = checkout.rename(tmp_path / "my checkout")
    (spaced / "lib" / "Makefile").write_text(
        "HERE := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))\n"
        "$(OUT)/a.so: $(HERE)a.c\n\tcp $< $@ && cmp $< a.c\n"
    )
    monkeypatch.setattr(cparts, "repository", lambda: spaced)
    final = cparts.build(cparts.CPart("a part", "lib", ("lib",), ("a.so",)), tmp_path / "my cache")
    assert (final / "a.so").read_text() == "one"


def test_other_users_may_read_a_shared_cache(checkout, tmp_path):
    (tmp_path / "plain").mkdir()
    final = cparts.build(cparts.CPart("a part", "lib", ("lib",), ("a.so",)), tmp_path)
    assert final.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_compiler_of_the_wheel_may_lie_below_a_space(tmp_path, monkeypatch):
    (tmp_path / "make").touch()
    (tmp_path / "make").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cparts.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(cparts.sys, "executable", "/my venv/python")
    assert cparts.find_compiler() == "'/my venv/python' -m ziglang cc"
