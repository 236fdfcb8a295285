"""The vectors of many images, in a table: `minc-embed`."""
