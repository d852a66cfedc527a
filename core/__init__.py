"""What the API and the workers share: settings, database, queue, object storage, rules. No HTTP, no torch."""
