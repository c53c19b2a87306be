"""Measurements beside peers, as ratios in one run. They are no tests: nothing fails when a figure is poor."""
