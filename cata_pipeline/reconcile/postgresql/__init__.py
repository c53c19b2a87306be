"""The PostgreSQL engine of a reconcile."""
