"""From a URL to verified bytes in staging."""
