"""What is kept: the tree of files and the index of them. Knows no feed."""
