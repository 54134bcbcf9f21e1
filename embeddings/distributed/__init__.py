"""Work on the machines of a Ray cluster. Nothing here is imported where no address of one was given."""
