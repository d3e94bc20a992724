"""Pure decisions: an observation and a state in, a plan with reasons and a state out."""
