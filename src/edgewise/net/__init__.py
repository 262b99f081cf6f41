"""The only package that opens sockets: fetching by URL, verified downloads, public data sets by name."""
