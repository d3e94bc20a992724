import pytest

from benchmarks.gpu import quota_parts
from benchmarks.gpu.quota_parts import PhaseError, Pod, library_at


def test_a_library_that_is_not_there_is_said_before_anything_runs(tmp_path):
    with pytest.raises(SystemExit, match=r"make -C quota_runtime OUT=build"):
        library_at(tmp_path / "libhas_quota.so")
    (tmp_path / "libhas_quota.so").touch()
    assert library_at(tmp_path / "libhas_quota.so").is_absolute()


def test_limits_that_nobody_puts_in_force_fail_the_phase(tmp_path, monkeypatch):
    monkeypatch.setattr(quota_parts, "PATIENCE_S", 0.01)
    pod = Pod(tmp_path / "pod", 132)
    with pytest.raises(PhaseError, match="no library has written there"):
        pod.put(quota=500)
