"""Files to be had: whole, in parts, with checksums; and the folders in which they lie, as pages with plain links."""
