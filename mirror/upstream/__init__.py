"""Reading the upstream: feeds, dialects, the polite session, complete listings."""
