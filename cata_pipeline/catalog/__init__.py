"""The canonical catalog and its immutable snapshots."""
