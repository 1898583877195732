"""The explorer: a page that shows what each point of an image attends to, in every attention layer."""
