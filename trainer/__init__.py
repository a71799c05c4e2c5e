"""Train one member: sharded TFRecords to a run folder."""
