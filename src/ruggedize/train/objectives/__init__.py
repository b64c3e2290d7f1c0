"""What a network is trained for, one objective a file; a file's name is the kind in a recipe."""
