"""What a night costs for each tenant of a fleet, through the real daemon: in batches, and with one run for each."""
