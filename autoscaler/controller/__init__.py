"""The autoscaler's shell: observes the cluster, asks the policy, applies its plan."""
