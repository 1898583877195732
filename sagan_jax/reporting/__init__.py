"""The page about a run, made of the files in its workdir."""
