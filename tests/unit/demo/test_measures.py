import math
import os

import pytest

from kserve_has.demo import measures

PAGE = """\
# TYPE kserve_has_decision_seconds histogram
kserve_has_decision_seconds_bucket{le="0.001",x="a"} 50.0
kserve_has_decision_seconds_bucket{le="0.01",x="a"} 100.0
kserve_has_decision_seconds_bucket{le="+Inf",x="a"} 100.0
kserve_has_decision_seconds_count{x="a"} 100.0
kserve_has_decision_seconds_sum{x="a"} 0.3
kserve_has_decision_seconds_bucket{le="0.001",x="b"} 0.0
kserve_has_decision_seconds_bucket{le="0.01",x="b"} 0.0
kserve_has_decision_seconds_bucket{le="+Inf",x="b"} 1.0
# TYPE other gauge
other 3.0
"""


def test_a_page_gives_its_histograms_with_all_labels_added():
    found = measures.histograms(PAGE)
    assert found == {"kserve_has_decision_seconds": {0.001: 50.0, 0.01: 100.0, math.inf: 101.0}}


def test_pages_of_several_lives_are_added_up():
    page = measures.histograms(PAGE)
    assert measures.add_up([page, page])["kserve_has_decision_seconds"][0.01] == 200.0


def test_a_quantile_lies_inside_its_bucket():
    buckets = {0.001: 50.0, 0.01: 100.0, math.inf: 100.0}
    assert measures.quantile(buckets, 0.25) == pytest.approx(0.0005)
    assert measures.quantile(buckets, 0.75) == pytest.approx(0.0055)
    assert measures.quantile({1.0: 0.0, math.inf: 4.0}, 0.5) == 1.0
    assert measures.quantile({}, 0.5) is None
    assert measures.quantile({1.0: 0.0, math.inf: 0.0}, 0.5) is None


def test_resident_memory_is_read_in_bytes(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tx\nVmRSS:\t  2048 kB\n")
    assert measures.resident_bytes(7, tmp_path) == 2 * 2**20
    assert measures.resident_bytes(8, tmp_path) == 0
    assert measures.resident_bytes(os.getpid()) > 2**20


def test_processes_are_found_by_the_end_of_a_word_of_their_command(tmp_path):
    for pid, command in (("12", b"python\0/bin/server\0--x"), ("3", b"/bin/server"), ("5", b"vi")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes(command)
    (tmp_path / "self").mkdir()
    assert measures.find_processes("/server", tmp_path) == [3, 12]


def test_an_environment_is_read_and_a_process_that_is_gone_has_none(tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "environ").write_bytes(b"HOSTNAME=pod-a\0X=1=2\0")
    assert measures.environment_of(3, tmp_path) == {"HOSTNAME": "pod-a", "X": "1=2"}
    assert measures.environment_of(4, tmp_path) == {}
