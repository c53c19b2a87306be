"""Keeps each tenant's product catalog in step with its POS provider, and its people's edits intact."""
