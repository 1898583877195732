"""Prepares data sets: plan, shards in parallel, manifest, class table and contact sheet."""
