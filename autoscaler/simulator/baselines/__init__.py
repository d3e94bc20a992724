"""What others do, re-implemented from their own rules and run on the same physics."""
