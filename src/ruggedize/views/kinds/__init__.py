"""The kinds of noise, one file each; a file's name is the kind's name in a recipe."""
