"""The demo: the whole system under real load on this machine, shown live and then reported."""
