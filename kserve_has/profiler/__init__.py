"""Measuring what a piece of a real GPU delivers to a served model."""
