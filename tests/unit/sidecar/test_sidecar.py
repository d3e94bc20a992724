import aiohttp
import pytest
from aiohttp.test_utils import unused_port
from prometheus_client import CollectorRegistry

from kserve_has import contract
from kserve_has.errors import AgentError
from quota_runtime.region import USAGE_SIZE, Limits, LimitsWriter
from quota_runtime.serving import parse_listen, serving
from quota_runtime.sidecar.__main__ import main
from quota_runtime.sidecar.state import PodMetrics, install

LIMITS = Limits(
    epoch=3,
    gpu_uuid="GPU-a",
    sm_groups=0b0111,
    sm_group_size=8,
    quota_permille=250,
    memory_limit_bytes=1000,
)


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "built.so"
    path.write_bytes(b"new")
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "quota"
    path.mkdir()
    return path


def test_the_library_appears_whole_and_executable(library, folder):
    target = install(library, folder)
    assert b"new" == target.read_bytes()
    assert 0o755 == target.stat().st_mode & 0o777
    assert [contract.LIBRARY_FILE] == [path.name for path in folder.iterdir()]


def test_a_restarted_sidecar_does_not_touch_the_library_that_processes_have_mapped(library, folder):
    (folder / contract.LIBRARY_FILE).write_bytes(b"old")
    with (folder / contract.LIBRARY_FILE).open("rb") as mapped:
        install(library, folder)
        assert b"old" == mapped.read()


def test_a_missing_library_is_an_error_that_names_it(folder, tmp_path):
    with pytest.raises(AgentError, match=r"nowhere\.so"):
        install(tmp_path / "nowhere.so", folder)
    assert 1 == main(["--library", str(tmp_path / "nowhere.so"), "--dir", str(folder)])


def test_the_model_waits_for_library_and_limits(library, folder):
    metrics = PodMetrics(folder, CollectorRegistry())
    assert "library" in metrics.not_ready()
    install(library, folder)
    assert "limits" in metrics.not_ready()
    (folder / contract.LIMITS_FILE).write_bytes(bytes(4096))
    assert "limits" in metrics.not_ready()
    (folder / contract.LIMITS_FILE).unlink()
    LimitsWriter(folder / contract.LIMITS_FILE).write(LIMITS)
    assert "" == metrics.not_ready()


def test_limits_and_usage_are_exposed(folder):
    registry = CollectorRegistry()
    PodMetrics(folder, registry)
    assert 0 == registry.get_sample_value("kserve_has_launches_total")
    LimitsWriter(folder / contract.LIMITS_FILE).write(LIMITS)
    assert (3, 3, 0.25, 1000, 1) == tuple(
        registry.get_sample_value(f"kserve_has_{name}")
        for name in ("epoch", "sm_groups", "quota_ratio", "memory_limit_bytes", "usage_readable")
    )


def test_usage_of_another_release_is_exposed_as_unreadable(folder):
    registry = CollectorRegistry()
    PodMetrics(folder, registry)
    (folder / contract.USAGE_FILE).write_bytes(b"x" * USAGE_SIZE)
    assert 0 == registry.get_sample_value("kserve_has_usage_readable")


async def test_health_is_503_with_the_reason_until_there_is_none():
    reason = ["not yet"]
    port = unused_port()
    registry = CollectorRegistry()
    async with (
        serving(("127.0.0.1", port), registry, lambda: reason[0]),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        async with http.get("/healthz") as answer:
            assert (503, "not yet") == (answer.status, await answer.text())
        reason[0] = ""
        async with http.get("/healthz") as answer:
            assert (200, "ok") == (answer.status, await answer.text())
        async with http.get("/metrics") as answer:
            assert 200 == answer.status


async def test_a_taken_port_is_an_error_that_names_the_address():
    port = unused_port()
    held = serving(("127.0.0.1", port), CollectorRegistry(), str)
    async with held:
        with pytest.raises(AgentError, match=f"127.0.0.1:{port}"):
            async with serving(("127.0.0.1", port), CollectorRegistry(), str):
                pass


def test_listen_addresses_are_host_and_port():
    assert ("::1", 80) == parse_listen("[::1]:80")
    for text in ("9401", ":9401", "a:b"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            parse_listen(text)
