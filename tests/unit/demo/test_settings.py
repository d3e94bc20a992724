"""What the demo tells the autoscaler is what its policy understands."""

from kserve_has.config import load
from kserve_has.config.demo import DemoSettings
from kserve_has.config.policy import PolicySettings


def test_the_policy_takes_the_demos_settings():
    told = DemoSettings(pool_keep_s=3.0).policy()
    policy = load(PolicySettings, told)
    assert policy.pool_keep_s == 3.0
    assert policy.demand_window_s < PolicySettings().demand_window_s
