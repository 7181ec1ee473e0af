"""Many photos and videos on many machines: numbered shards, one committed file for each."""
