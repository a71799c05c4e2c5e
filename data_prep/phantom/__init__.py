"""Makes synthetic films and masks, for the demo and the tests."""
