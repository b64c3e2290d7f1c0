"""Side by side with peers, in the same run on the same images; results as JSON."""
