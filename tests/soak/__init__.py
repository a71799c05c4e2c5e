"""Hours of damage: commands killed, disks full, bits flipped, inputs mutated.

    python -m tests.soak --output=build/soak --hours=8 [--parts=kills,faults] [--seed=0]

The same command goes on where it was interrupted, and ends with a table; `make soak`
runs it. Each trial is a function of the seed and of its number, so a failure is run
again by `--only=PART:NUMBER`.
"""
