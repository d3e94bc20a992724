"""Open-loop load: requests are sent when the trace says so, whatever became of earlier ones."""
