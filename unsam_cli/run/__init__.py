"""What every command shares: inputs, shards, resuming, atomic output, signals, provenance."""
