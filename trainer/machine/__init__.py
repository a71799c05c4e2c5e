"""What this machine has for the project, and what keeps it from being used."""
