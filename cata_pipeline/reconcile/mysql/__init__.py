"""The MySQL and MariaDB engine of a reconcile."""
