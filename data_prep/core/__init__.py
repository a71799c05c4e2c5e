"""What every stage shares: failures, durable files, specs, progress, workers."""
