"""One page about a run, from what its workdir holds."""
