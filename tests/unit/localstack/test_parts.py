"""Parts are built once, appear whole or not at all, and are found again by what they are of."""

import fcntl
import os
import subprocess
import threading

import pytest

from kserve_has.errors import StackError
from kserve_has.localstack import goparts, gotool, parts
from kserve_has.localstack.goparts import GO_PARTS, GoPart

ETCD = next(part for part in GO_PARTS if part.name == "etcd")
KSERVE = next(part for part in GO_PARTS if part.name == "kserve-manager")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(parts.ENV_CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(parts.ENV_READY, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def go(tmp_path):
    """A stand-in for Go that writes what it was told into the file that it should build."""
    release = tmp_path / "module" / "install" / "v0.20.0"
    release.mkdir(parents=True)
    (release / "kserve.yaml").write_text("kind: Deployment\nmetadata: {name: left-out}\n")
    script = f"""#!/bin/sh
if [ "$1" = list ]; then echo '{{"Dir": "{tmp_path}/module"}}'; exit; fi
while [ "$1" != -o ]; do shift; done
echo "$3 $CGO_ENABLED $GOMODCACHE $GOCACHE $PWD" > "$2"
"""
    path = tmp_path / "go"
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


def test_a_key_changes_with_what_the_binary_is_made_from(tmp_path, monkeypatch):
    first = GoPart("a", "m", "p", 1).key
    monkeypatch.setattr(goparts, "MODULES", tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "go.sum").write_text("one")
    keys = {first(), GoPart("a", "m", "p", 1, tags="t").key(), GoPart("a", "m", "q", 1).key()}
    (tmp_path / "m" / "go.sum").write_text("two")
    keys.add(first())
    assert 4 == len(keys)


def test_kubernetes_knows_its_version():
    command = next(p for p in GO_PARTS if p.name == "kubectl").command("go", "out")
    assert any("version.gitVersion=v1.36.2" in word for word in command)


def test_a_build_uses_its_own_caches_and_leaves_nothing_half_done(cache, go, tmp_path):
    found = goparts.locate(cache)
    goparts.build(ETCD, go, cache / "go", found, tmp_path / "log")
    words = found.paths["etcd"].read_text().split()
    module = str(goparts.MODULES / "etcd")
    assert [".", "0", str(cache / "go/mod"), str(cache / "go/build"), module] == words
    assert [found.paths["etcd"].parent.name] == [p.name for p in (cache / "parts").iterdir()]


def test_kserve_is_complete_only_with_its_manifests(cache, go, tmp_path):
    found = goparts.locate(cache)
    goparts.build(KSERVE, go, cache / "go", found, tmp_path / "log")
    assert KSERVE not in found.missing()
    found.kserve_manifests.unlink()
    assert KSERVE in found.missing()


def test_a_failed_build_names_its_log_and_leaves_no_part(cache, tmp_path):
    found = goparts.locate(cache)
    with pytest.raises(StackError, match=r"go build of etcd ended with status 1; see .*/log"):
        goparts.build(ETCD, "false", cache / "go", found, tmp_path / "log")
    assert ETCD in found.missing()


def test_ensure_builds_everything_that_is_missing_once(cache, go, monkeypatch):
    monkeypatch.setattr(parts, "find_go", lambda *_: go)
    steps = []
    parts.ensure(steps.append, native=False)
    assert "building etcd (1 of 7), about 10 min left, once" == steps[0]
    assert "building prometheus (7 of 7), about 2 min left, once" == steps[-1]
    assert parts.present() == goparts.locate(cache)
    steps.clear()
    parts.ensure(steps.append, native=False)
    assert [] == steps


def test_a_second_build_waits_for_the_first(cache, go, monkeypatch):
    monkeypatch.setattr(parts, "find_go", lambda *_: go)
    cache.mkdir()
    waits = threading.Event()
    steps = []

    def report(step):
        steps.append(step)
        waits.set()

    with (cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=parts.ensure, args=(report,), kwargs={"native": False})
        second.start()
        assert waits.wait(10)
        assert ["waiting for another build of the same parts"] == steps
    second.join(10)
    assert 8 == len(steps)


def test_missing_parts_are_named_with_the_command_that_builds_them(cache):
    with pytest.raises(StackError, match=r"etcd, .*run: python -m kserve_has\.localstack parts"):
        parts.present()


def test_a_folder_of_ready_binaries_must_be_complete(cache, monkeypatch, tmp_path):
    monkeypatch.setenv(parts.ENV_READY, str(tmp_path))
    with pytest.raises(StackError, match=r"\$KSERVE_HAS_PARTS_DIR lacks etcd, "):
        parts.ensure(lambda _: None, native=False)


def test_dropping_the_caches_copes_with_go_s_read_only_folders(cache):
    folder = cache / "go" / "mod" / "example.com"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    folder.chmod(0o500)
    parts.drop_go_caches()
    assert not (cache / "go").exists()


def test_another_go_line_is_not_used(tmp_path, monkeypatch):
    other = tmp_path / "go"
    other.write_text("#!/bin/sh\necho go1.27.1\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gotool, "_install", lambda folder: None)
    assert str(other) != gotool.find_go(tmp_path / "cache", lambda _: None)
    other.write_text("#!/bin/sh\necho go1.26.3\n")
    assert str(other) == gotool.find_go(tmp_path / "cache", lambda _: None)


@pytest.mark.parametrize("lacking", ["envoy", "native_parts"])
def test_what_the_machine_lacks_is_told_before_the_long_build(cache, go, monkeypatch, lacking):
    def refuse():
        raise StackError(f"no {lacking}")

    started = []
    monkeypatch.setattr(parts, "find_go", lambda *_: started.append("go") or go)
    monkeypatch.setattr(parts, "native_parts", lambda: None)
    monkeypatch.setattr(parts, lacking, refuse)
    with pytest.raises(StackError, match=f"no {lacking}"):
        parts.ensure(lambda _: None)
    assert started == []


def test_a_broken_off_build_leaves_no_compiler_running(cache, tmp_path, monkeypatch, ended):
    told, compilers = tmp_path / "told", []
    os.mkfifo(told)
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\nsleep 30 & echo $! > {told}\nwait\n")
    go.chmod(0o755)

    class Interrupted(subprocess.Popen):
        def wait(self, timeout=None):
            if not compilers:
                compilers.append(int(told.read_text()))
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        goparts.build(ETCD, str(go), cache / "go", goparts.locate(cache), tmp_path / "log")
    assert ended(compilers[0])


@pytest.mark.parametrize("needs", [parts.native_parts, lambda: parts.ensure(print, native=False)])
def test_a_cache_folder_that_cannot_be_used_is_named_with_its_variable(cache, needs):
    cache.write_text("a file")
    with pytest.raises(StackError, match=r"cache: .*; \$KSERVE_HAS_CACHE names another"):
        needs()


def test_without_a_home_the_variable_is_named(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(parts.ENV_CACHE, raising=False)
    monkeypatch.setattr(parts.Path, "home", home)
    with pytest.raises(StackError, match=r"name a folder with \$KSERVE_HAS_CACHE"):
        parts.cache_folder()
