"""Who is served: the registry of tenants, the file it is imported from, and their credentials."""
