"""Brings a tenant's tables in step with a snapshot, under the ownership rules of `policy`."""
