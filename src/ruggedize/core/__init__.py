"""What every part uses: errors, files, locks, memory, progress, random streams."""
