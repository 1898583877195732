"""The explorer: a page in which one clicks on an image and sees where that point attends."""
