"""What every stage shares: errors, durable files, specs, progress, workers."""
