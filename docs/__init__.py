"""The pages, and the script that writes what can be written from the code."""
