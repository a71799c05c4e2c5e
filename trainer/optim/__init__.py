"""What is minimised and how: losses, optimizers, schedules, weight averages."""
