"""What must hold of a pruner, for whom, and on which evidence."""
