"""Photos and reports in a browser on the same computer."""
