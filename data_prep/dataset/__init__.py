"""The dataset on disk: record schema, shards, manifest, masks as run lengths."""
