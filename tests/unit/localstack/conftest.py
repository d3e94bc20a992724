import os
import select

import pytest


@pytest.fixture
def ended():
    """Tell whether a process ends: a killed one takes a moment to be dead."""

    def wait(pid):
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([watched], [], [], 5)[0])
        finally:
            os.close(watched)

    return wait
