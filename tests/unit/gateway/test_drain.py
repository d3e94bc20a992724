import pytest

from autoscaler.gateway import drain


class Envoy:
    """An admin page and the clock that its callers wait by."""

    def __init__(self, active):
        self.now_s = 100.0
        self.calls = []
        self._active = active

    def admin(self, method, path):
        self.calls.append((method, path))
        if method == "POST":
            return "OK\n"
        return f"http.gateway.downstream_rq_active: {self._active(self.now_s - 100.0)}\n"

    def drain(self):
        return drain.drain(self.admin, lambda: self.now_s, self.sleep)

    def sleep(self, seconds):
        self.now_s += seconds


def test_clients_are_told_first_and_nothing_is_closed():
    envoy = Envoy(lambda _: 0)
    assert envoy.drain()
    assert envoy.calls[0] == ("POST", "/drain_listeners?graceful&skip_exit")


@pytest.mark.parametrize(
    ("last_answer_s", "ends_s"), [(0.0, drain.SHORTEST_S), (3.0, drain.SHORTEST_S), (40.0, 40.0)]
)
def test_it_ends_when_all_is_answered_and_late_clients_have_heard(last_answer_s, ends_s):
    envoy = Envoy(lambda passed_s: int(passed_s < last_answer_s))
    assert envoy.drain()
    assert envoy.now_s - 100.0 == pytest.approx(ends_s, abs=0.5)


def test_a_request_that_never_ends_is_not_waited_for_without_bound():
    envoy = Envoy(lambda _: 1)
    assert not envoy.drain()
    assert envoy.now_s - 100.0 == pytest.approx(drain.LONGEST_S, abs=0.5)
