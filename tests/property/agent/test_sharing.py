"""Backends, areas in time, logs in pieces: what holds for all of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_has.allocation import Allocation
from kserve_has.gpu import H200
from quota_runtime.agent.arrange import turns
from quota_runtime.agent.backend import Facts, MpsState, choose, from_time, in_time, of_pod
from quota_runtime.agent.mps.answers import Broken, Connected, Faulted, Left, LogReader
from quota_runtime.agent.mps.tail import LogTail
from quota_runtime.agent.trouble import UngatedShare

facts = st.builds(
    Facts,
    driver=st.one_of(st.text(max_size=8), st.integers(300, 700).map(lambda n: f"{n}.1.2")),
    capability=st.tuples(st.integers(3, 12), st.integers(0, 9)),
    mps=st.builds(MpsState, st.booleans(), st.floats(1, 100), st.text(max_size=5)),
    emulated=st.booleans(),
)


@given(facts)
def test_partitions_are_promised_only_where_processes_run_at_once(known):
    backend = choose(known)
    assert backend.reason
    if backend.name == "A" and not known.emulated:
        assert known.mps.serving
        assert known.mps.percentage == 100
    if not known.mps.serving and not known.emulated:
        assert "B" == backend.name
    assert "B" == of_pod(backend.name, True)


@st.composite
def pieces(draw):
    """Pieces of one GPU that its groups can honour together."""
    free = [100] * H200.group_count
    found = []
    for _ in range(draw(st.integers(1, 8))):
        groups = draw(st.integers(1, H200.all_groups))
        most = min(free[i] for i in range(H200.group_count) if groups >> i & 1)
        if most < 1:
            continue
        quota = draw(st.integers(1, most))
        free = [f - quota if groups >> i & 1 else f for i, f in enumerate(free)]
        found.append(Allocation("u", groups, H200.sm_of(groups), quota, 1))
    return found


@given(pieces())
def test_areas_that_fit_fit_in_time_too_and_their_turns_do_not_overlap(held):
    permille = [in_time(piece, H200) for piece in held]
    assert sum(permille) <= 1000 + len(held)
    for piece, time in zip(held, permille, strict=True):
        area = piece.quota_percent * piece.sm_partition / H200.sm_count
        assert time / 10 == pytest.approx(area, abs=0.1)
        back = from_time(time, piece.sm_partition, H200)
        assert back == pytest.approx(piece.quota_percent, abs=0.1 * H200.sm_count / 8 + 0.5)
    whole = {
        str(i): Allocation("u", H200.all_groups, H200.sm_count, max(1, t // 10), 1)
        for i, t in enumerate(permille)
    }
    if sum(piece.quota_percent for piece in whole.values()) <= 100:
        starts = turns(whole, {}, 50_000_000)
        ends = sorted((s, s + whole[u].quota_percent * 500_000) for u, s in starts.items() if s)
        assert all(b[0] >= a[1] - 1 for a, b in itertools.pairwise(ends))


LINES = st.sampled_from(
    [
        ("Server is handling a fatal GPU error.", Faulted(7)),
        ("The following client process have a sticky error set:", None),
        ("Status of client {PID: 31, Context ID: 1} is ACTIVE", Connected(31, 7)),
        ("Client process 31 disconnected", Left(31)),
        ("Received new client request for {PID: 31, Context ID: 0}", None),
        ("12", "pid"),
    ]
)


def meaning(lines):
    in_list, signs = False, []
    for text, sign in lines:
        if sign == "pid":
            signs += [Broken(12)] if in_list else []
            continue
        in_list = "sticky" in text
        signs += [sign] if sign else []
    return signs


@given(st.lists(LINES, max_size=20), st.lists(st.integers(1, 90), max_size=40))
def test_a_log_means_the_same_in_whatever_pieces_it_is_written(tmp_path_factory, lines, cuts):
    path = tmp_path_factory.mktemp("log") / "server.log"
    path.touch()
    tail, reader, signs = LogTail(path), LogReader(), []
    text = "".join(f"[2026-11-24 20:43:33.090 Server     7] {line}\n" for line, _ in lines)
    data = text.encode()
    for cut in [*cuts, len(data)]:
        with path.open("ab") as log:
            log.write(data[:cut])
        data = data[cut:]
        signs += reader.read(tail.read())
    assert meaning(lines) == signs


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=50))
def test_the_ungated_share_is_a_share_and_its_memory_is_bounded(steps):
    share, gated, ungated = UngatedShare(10), 0, 0
    for at, (more_gated, more_ungated) in enumerate(steps):
        gated, ungated = gated + more_gated, ungated + more_ungated
        share.take(at, gated, ungated)
        assert 0.0 <= share.ratio <= 1.0
    assert len(share._samples) <= 12
    if not any(more for _, more in steps[1:]):
        assert 0.0 == share.ratio
