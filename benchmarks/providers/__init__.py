"""What fetching and mapping a provider's catalog costs beside reading the same pages."""
